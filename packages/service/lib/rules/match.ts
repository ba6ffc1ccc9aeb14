import type { RuleConfig } from '../config/schema.js';
import type { NewEvent } from '../store/events.js';

const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;

/** Whether a rule is about such an event, its rate left aside. Times are local. */
export function matches(rule: RuleConfig, event: Pick<NewEvent, 'type' | 'camera' | 'person' | 'distance'>, time: Date): boolean {
  if (rule.event !== event.type) return false;
  if (rule.cameras && !rule.cameras.includes(event.camera)) return false;
  if (rule.people !== undefined) {
    if (!event.person) return false;
    if (rule.people !== 'everyone' && !rule.people.includes(event.person.name)) return false;
  }
  if (rule.maxDistance !== undefined && !(event.distance !== undefined && event.distance <= rule.maxDistance)) return false;
  return inHours(rule, time);
}

/** Hours that pass midnight belong to the day on which they begin. */
function inHours({ hours, days }: RuleConfig, time: Date): boolean {
  const now = time.getHours() * 60 + time.getMinutes();
  let day = time.getDay();
  if (hours !== undefined) {
    const [from, to] = hours.split('-').map((text) => Number(text.slice(0, 2)) * 60 + Number(text.slice(3))) as [number, number];
    const inside = from <= to ? now >= from && now < to : now >= from || now < to;
    if (!inside) return false;
    if (from > to && now < to) day = (day + 6) % 7;
  }
  return days === undefined || days.includes(DAYS[day]!);
}
