// A service of an Angular application: create a session, change it, and follow it. With ng-openapi-gen.
import { Injectable, inject } from "@angular/core";
import { Observable } from "rxjs";
import { Api } from "./angular/api";
import { createSession, updateSession } from "./angular/functions";
import type { Session, SessionEvent } from "./angular/models";

@Injectable({ providedIn: "root" })
export class Sessions {
  private readonly api = inject(Api);
  private readonly user = { tenant: "acme", user: "u-42" };

  create(): Promise<Session> {
    return this.api.invoke(createSession, { ...this.user, body: { companyId: "c-7" } });
  }

  visit({ sessionId: session, version }: Session, lastPath: string): Promise<Session> {
    return this.api.invoke(updateSession, { ...this.user, session, version, body: { lastPath } });
  }

  watch({ name }: Session): Observable<SessionEvent> {
    return new Observable((subscriber) => {
      const events = new EventSource(`${this.api.rootUrl}/v1/${name}:watch`, { withCredentials: true });
      events.addEventListener("updated", (event) => subscriber.next(JSON.parse(event.data)));
      return () => events.close();
    });
  }
}
