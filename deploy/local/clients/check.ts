// Runs the TypeScript and the Angular program against a mesh: check.js BASE_URL TOKEN. Fails unless both see a change.
import "@angular/compiler";
import { HttpClient, provideHttpClient, withFetch, withInterceptors } from "@angular/common/http";
import {
  createEnvironmentInjector,
  type EnvironmentInjector,
  Injector,
  provideZonelessChangeDetection,
  ɵINJECTOR_SCOPE as INJECTOR_SCOPE,
} from "@angular/core";
import { EventSource as NodeEventSource } from "eventsource";
import { Sessions } from "./angular";
import { Api } from "./angular/api";
import { ApiConfiguration } from "./angular/api-configuration";
import { follow } from "./program";

declare const process: { argv: string[] };

const [baseUrl = "", token = ""] = process.argv.slice(2);
const authorization = `Bearer ${token}`;

// A browser's EventSource sends the cookie; Node has neither.
globalThis.EventSource = class extends NodeEventSource {
  constructor(url: string | URL) {
    const cookie = `keyplane_token=${token}`;
    super(url, { fetch: (target, init) => fetch(target, { ...init, headers: { ...init.headers, cookie } }) });
  }
};

/** Changes the session at `url` until its watch shows a change. */
async function change(url: string, shown: { changedFields?: string[] }[]): Promise<void> {
  for (let step = 0; shown.length === 0; step++) {
    const body = JSON.stringify({ lastPath: `/step/${step}` });
    const response = await fetch(url, { method: "PATCH", headers: { authorization }, body });
    if (!response.ok || step === 100) throw new Error(`no change is shown: ${response.status} ${await response.text()}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  if (!shown[0]?.changedFields?.includes("lastPath")) throw new Error(`another change: ${JSON.stringify(shown[0])}`);
}

const shownByProgram: { changedFields?: string[] }[] = [];
const events = await follow(baseUrl, token, (event) => shownByProgram.push(event));
await change(events.url.replace(":watch", ""), shownByProgram);
events.close();

// An application has this injector from `bootstrapApplication`, which needs a page.
const injector = createEnvironmentInjector(
  [
    { provide: INJECTOR_SCOPE, useValue: "root" },
    provideZonelessChangeDetection(),
    provideHttpClient(
      withFetch(),
      withInterceptors([(request, next) => next(request.clone({ setHeaders: { authorization } }))]),
    ),
    { provide: ApiConfiguration, useValue: { rootUrl: baseUrl } },
    { provide: Api, useFactory: (...parts: ConstructorParameters<typeof Api>) => new Api(...parts), deps: [ApiConfiguration, HttpClient] },
    Sessions,
  ],
  Injector.NULL as EnvironmentInjector,
);
const sessions = injector.get(Sessions);
const session = await sessions.visit(await sessions.create(), "/tasks/42");
if (session.lastPath !== "/tasks/42") throw new Error(`not changed: ${JSON.stringify(session)}`);
const shownByAngular: { changedFields?: string[] }[] = [];
const watch = sessions.watch(session).subscribe((event) => shownByAngular.push(event));
await change(`${baseUrl}/v1/${session.name}`, shownByAngular);
watch.unsubscribe();
