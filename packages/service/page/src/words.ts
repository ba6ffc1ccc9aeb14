import type { EventType, Live, LiveFace, Rule, ServiceEvent } from './types';

const UNKNOWN = 'Unknown face';

export const EVENT_WORDS: Record<EventType, string> = {
  recognised: 'recognised',
  unknown: 'unknown face',
  left: 'left',
  near: 'something near',
  clear: 'nothing near',
  'camera-lost': 'camera lost',
  'camera-back': 'camera back',
};

/** What happened, without where. */
export function what({ type, person, coverage, reason }: ServiceEvent): string {
  switch (type) {
    case 'recognised':
      return `${person?.name ?? 'Somebody'} recognised`;
    case 'unknown':
      return UNKNOWN;
    case 'left':
      return `${person?.name ?? UNKNOWN} left`;
    case 'near':
      return `Something is near: ${percent(coverage ?? 0)} of the picture`;
    case 'clear':
      return 'Nothing is near any more';
    case 'camera-lost':
      return `Camera lost${reason === undefined ? '' : `: ${reason}`}`;
    case 'camera-back':
      return 'Camera back';
  }
}

export function sentence(event: ServiceEvent, camera: string): string {
  return `${camera}: ${what(event)}`;
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
}

export function faceName({ state, person }: LiveFace): string {
  if (person) return person.name;
  return state === 'unknown' ? 'unknown' : 'looking';
}

/** What a picture shows, for whoever does not see it. */
export function picture(camera: string, live: Live | undefined): string {
  if (!live) return `${camera}: no frame yet`;
  if (live.faces.length === 0) return `${camera}: nobody in the picture`;
  return `${camera}: ${live.faces.map(faceName).join(', ')}`;
}

const DAYS: Record<string, string> = {
  mon: 'Monday', tue: 'Tuesday', wed: 'Wednesday',
  thu: 'Thursday', fri: 'Friday', sat: 'Saturday', sun: 'Sunday',
};
const WHEN: Record<EventType, (people: string) => string> = {
  recognised: (people) => `${people} is recognised`,
  unknown: () => 'an unknown face is seen',
  left: (people) => `${people} leaves`,
  near: () => 'something comes near',
  clear: () => 'nothing is near any more',
  'camera-lost': () => 'a camera is lost',
  'camera-back': () => 'a camera is back',
};

/** A rule's condition as a sentence. */
export function when({ event, people, cameras, hours, days, maxDistance }: Rule, cameraName: (id: string) => string): string {
  const who = people === undefined ? 'somebody' : people === 'everyone' ? 'anybody who is enrolled' : list(people, 'or');
  const parts = [WHEN[event](who)];
  if (cameras) parts.push(`at ${list(cameras.map(cameraName), 'or')}`);
  if (days) parts.push(`on ${list(days.map((day) => DAYS[day] ?? day), 'or')}`);
  if (hours !== undefined) parts.push(`between ${hours.replace('-', ' and ')}`);
  if (maxDistance !== undefined) parts.push(`at a distance of at most ${maxDistance}`);
  return `When ${parts.join(' ')}`;
}

export function action({ kind, target }: Rule['actions'][number]): string {
  if (kind === 'mqtt') return `sends an MQTT message to ${target ?? 'a topic'}`;
  if (kind === 'webhook') return `calls the webhook ${target ?? ''}`;
  return 'keeps the photo of the face';
}

export function list(items: readonly string[], word: string): string {
  return items.length < 2 ? items.join('') : `${items.slice(0, -1).join(', ')} ${word} ${items.at(-1)!}`;
}

export function bytes(value: number): string {
  return `${Math.round(value / 2 ** 20).toLocaleString('en')} MiB`;
}

export function duration(seconds: number): string {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`;
}
