// A page that shows where its user is: create a session, change it, and follow it. With openapi-typescript and openapi-fetch.
import createClient from "openapi-fetch";
import type { components, paths } from "./keyplane.js";

type SessionEvent = components["schemas"]["SessionEvent"];

export async function follow(baseUrl: string, token: string, show: (event: SessionEvent) => void): Promise<EventSource> {
  const api = createClient<paths>({ baseUrl, headers: { authorization: `Bearer ${token}` } });
  const user = { tenant: "acme", user: "u-42" };

  const created = await api.POST("/v1/tenants/{tenant}/users/{user}/sessions", {
    params: { path: user },
    body: { companyId: "c-7", attributes: { theme: "dark" } },
  });
  if (created.error) throw new Error(created.error.message);
  const { sessionId: session, version } = created.data;

  const changed = await api.PATCH("/v1/tenants/{tenant}/users/{user}/sessions/{session}", {
    params: { path: { ...user, session }, query: { version } },
    body: { lastPath: "/tasks/42" },
  });
  if (changed.error) throw new Error(changed.error.message);

  const events = new EventSource(`${baseUrl}/v1/${changed.data.name}:watch`, { withCredentials: true });
  events.addEventListener("updated", (event) => show(JSON.parse(event.data)));
  return events;
}
