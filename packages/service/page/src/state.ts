import { computed, signal, type Signal } from '@preact/signals';
import { announce } from './announce';
import { ApiError, ask, keepToken, token } from './api';
import { follow, type StreamState } from './event-stream';
import { sentence } from './words';
import type { Camera, Live, Scope, ServiceEvent, Session } from './types';

/** A camera, and what was seen on its newest frames. */
export interface Watched {
  camera: Signal<Camera>;
  live: Signal<Live | undefined>;
  /** By the number of the frame, the newest last. */
  recent: Map<number, Live>;
}

export const session = signal<Session | undefined>(undefined);
/** Why nobody is signed in; undefined until it is known. */
export const signedOut = signal<{ reason?: string } | undefined>(undefined);
/** Why the service cannot be reached at all. */
export const unreachable = signal<string | undefined>(undefined);
export const cameras = signal<ReadonlyMap<string, Watched>>(new Map());
/** The newest first. */
export const events = signal<readonly ServiceEvent[]>([]);
export const eventStream = signal<StreamState | undefined>(undefined);
export const liveStream = signal<StreamState | undefined>(undefined);
/** Pictures and lists stand still, for whoever wants to look at them in peace. */
export const paused = signal(false);
let held = events.peek();
/** `events` as the page lists them. */
export const shownEvents = computed(() => (paused.value ? held : (held = events.value)));

export const may = (scope: Scope) => session.value?.scopes.includes(scope) ?? false;
export const offline = computed(() => [liveStream.value, eventStream.value].find((state) => state?.open === false));

const RECENT_FRAMES = 60;
const MOST_EVENTS = 500;
const FIRST_EVENTS = 50;
let ends: (() => void)[] = [];

/** Asks who the token is, and follows what goes on. */
export async function begin(): Promise<void> {
  unreachable.value = undefined;
  try {
    session.value = await ask<Session>('v1/session');
    const [list, first] = await Promise.all([
      ask<{ cameras: Camera[] }>('v1/cameras'),
      ask<{ events: ServiceEvent[] }>(`v1/events?limit=${FIRST_EVENTS}`),
    ]);
    cameras.value = new Map(list.cameras.map((camera) => [camera.id, { camera: signal(camera), live: signal(undefined), recent: new Map() }]));
    events.value = first.events;
  } catch (error) {
    refused(error as ApiError);
    return;
  }
  signedOut.value = undefined;
  ends = [
    follow('v1/live', {
      onMessage: ({ event, data }) => (event === 'live' ? takeLive(JSON.parse(data) as Live) : takeCamera(JSON.parse(data) as Camera)),
      onState: (state) => {
        // A service that was started again counts its frames anew.
        if (state.open) for (const { recent } of cameras.value.values()) recent.clear();
        liveStream.value = state;
      },
      onRefused: refused,
    }),
    follow('v1/events/stream', {
      lastId: String(events.value[0]?.sequence ?? 0),
      onMessage: ({ data }) => takeEvent(JSON.parse(data) as ServiceEvent),
      onState: (state) => (eventStream.value = state),
      onRefused: refused,
    }),
  ];
}

export function signOut(reason?: string): void {
  for (const end of ends) end();
  ends = [];
  keepToken(undefined);
  session.value = undefined;
  liveStream.value = eventStream.value = undefined;
  cameras.value = new Map();
  events.value = [];
  signedOut.value = reason === undefined ? {} : { reason };
}

export function cameraName(id: string): string {
  return cameras.value.get(id)?.camera.value.name ?? id;
}

function refused(error: ApiError): void {
  if (error.status === 401) signOut(token.value === undefined ? undefined : error.message);
  else if (error.status === 403) signOut(`${error.message}; this page needs it`);
  else unreachable.value = error.message;
}

function takeLive(live: Live): void {
  const watched = cameras.value.get(live.camera);
  if (!watched) return;
  watched.recent.set(live.frame, live);
  if (watched.recent.size > RECENT_FRAMES) watched.recent.delete(watched.recent.keys().next().value!);
  watched.live.value = live;
}

function takeCamera(camera: Camera): void {
  const watched = cameras.value.get(camera.id);
  if (watched) watched.camera.value = camera;
}

function takeEvent(event: ServiceEvent): void {
  // The service may be another one by now, with events of its own; and a repeat is none.
  if (events.value.some(({ id }) => id === event.id)) return;
  events.value = [event, ...events.value].slice(0, MOST_EVENTS);
  announce(sentence(event, cameraName(event.camera)));
}
