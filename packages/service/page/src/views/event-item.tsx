import { useEffect, useState } from 'preact/hooks';
import { ask } from '../api';
import { SecretImage } from '../parts/secret-image';
import { Time } from '../parts/time';
import { cameraName } from '../state';
import type { ServiceEvent } from '../types';
import { what } from '../words';

/** The picture of a face is kept a moment after its event was told. */
const PICTURE_AFTER = 1500;
const FRESH = 10_000;

export function EventItem({ event }: { event: ServiceEvent }) {
  const { type, camera, time, distance, score } = event;
  const figures = [distance !== undefined && `distance ${distance.toFixed(2)}`, score !== undefined && `face ${score.toFixed(3)}`].filter(Boolean);
  return (
    <li class={`event event-${type}`}>
      <span class="event-mark" aria-hidden="true" />
      <div class="event-text">
        <p class="event-what">{what(event)}</p>
        <p class="muted small">
          <Time at={time} /> · {cameraName(camera)}
          {figures.length > 0 && ` · ${figures.join(' · ')}`}
        </p>
      </div>
      <Snapshot event={event} />
    </li>
  );
}

function Snapshot({ event }: { event: ServiceEvent }) {
  const { id, type, time, snapshot } = event;
  const [kept, setKept] = useState(snapshot);
  useEffect(() => {
    if (kept || !(type === 'recognised' || type === 'unknown') || Date.now() - Date.parse(time) > FRESH) return;
    const timer = setTimeout(() => {
      ask<ServiceEvent>(`v1/events/${id}`).then(
        (now) => setKept(now.snapshot),
        () => {},
      );
    }, PICTURE_AFTER);
    return () => clearTimeout(timer);
  }, [id]);
  return kept ? <SecretImage class="snapshot" path={`v1/events/${id}/snapshot.jpg`} alt={`The face: ${what(event)}`} /> : null;
}
