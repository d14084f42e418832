// The rooms of this Blab, in the order of the navigation. Their pages are in gateway/http/pages.py.

export const ROOMS = [
  { path: "/", name: "Talk" },
  { path: "/calls", name: "Calls" },
  { path: "/agents", name: "Agents" },
  { path: "/workbench", name: "Workbench" },
  { path: "/usage", name: "Usage" },
  { path: "/jobs", name: "Jobs" },
  { path: "/keys", name: "Keys" },
  { path: "/webhooks", name: "Webhooks" },
];

/** The room that the address lies in; one without a path where it lies in none. */
export const currentRoom = () =>
  ROOMS.find(({ path }) => path === location.pathname || (path !== "/" && location.pathname.startsWith(`${path}/`))) ?? { path: "", name: "Menu" };
