import type { Static } from 'typebox';
import type * as schemas from '../../lib/http/schemas.js';

// What the API answers, from the schemas that it answers by.
export type Camera = Static<typeof schemas.Camera>;
export type Live = Static<typeof schemas.Live>;
export type LiveFace = Live['faces'][number];
export type ServiceEvent = Static<typeof schemas.Event>;
export type EventType = ServiceEvent['type'];
export type Person = Static<typeof schemas.Person>;
export type PersonFace = Static<typeof schemas.PersonFace>;
export type Rule = Static<typeof schemas.Rule>;
export type AuditEntry = Static<typeof schemas.AuditEntry>;
export type Status = Static<typeof schemas.Status>;
export type Readiness = Static<typeof schemas.Readiness>;
export type Session = Static<typeof schemas.Session>;
export type Scope = Session['scopes'][number];
export type Failure = Static<typeof schemas.Failure>;
export interface Enrolled {
  person: Person;
  face: PersonFace;
  /** Whether the person was new. */
  created: boolean;
}
