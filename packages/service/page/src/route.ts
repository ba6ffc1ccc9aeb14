import { signal } from '@preact/signals';

export const VIEWS = ['live', 'events', 'people', 'enrol', 'rules', 'health'] as const;
export type View = (typeof VIEWS)[number];

export interface Route {
  view: View;
  /** What follows the view: a person's id. */
  id?: string;
  /** What follows the question mark. */
  query: URLSearchParams;
}

export const route = signal(parse());
addEventListener('hashchange', () => (route.value = parse()));

/** After the #, so that the service needs to know of no view and its logs hold none. */
export function to(view: View, id?: string, query?: Record<string, string>): string {
  const rest = query ? `?${new URLSearchParams(query)}` : '';
  return `#/${view}${id === undefined ? '' : `/${encodeURIComponent(id)}`}${rest}`;
}

function parse(): Route {
  const [path = '', query] = location.hash.slice(1).split('?');
  const [, name, id] = path.split('/');
  const view = VIEWS.find((each) => each === name) ?? 'live';
  return { view, query: new URLSearchParams(query), ...(id === undefined || id === '' ? {} : { id: decodeURIComponent(id) }) };
}
