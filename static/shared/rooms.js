// The rooms in their order; the server's list: gateway/http/pages.py.

export const ROOMS = [
  { path: "/", name: "Talk" },
  { path: "/calls", name: "Calls" },
  { path: "/agents", name: "Agents" },
  { path: "/simulate", name: "Simulate" },
  { path: "/workbench", name: "Workbench" },
  { path: "/usage", name: "Usage" },
  { path: "/jobs", name: "Jobs" },
  { path: "/keys", name: "Keys" },
  { path: "/webhooks", name: "Webhooks" },
];

/** The one of this address, or one without a path. */
export const currentRoom = () =>
  ROOMS.find(({ path }) => path === location.pathname || (path !== "/" && location.pathname.startsWith(`${path}/`))) ?? { path: "", name: "Menu" };
