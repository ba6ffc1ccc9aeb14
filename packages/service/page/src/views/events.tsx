import { useState } from 'preact/hooks';
import { EventItem } from './event-item';
import { PauseButton } from './live';
import { ask, query } from '../api';
import { usePages } from '../parts/pages';
import { Empty, Failed, Loading } from '../parts/states';
import { cameras, eventStream, shownEvents } from '../state';
import type { ServiceEvent } from '../types';
import { EVENT_WORDS } from '../words';

const PAGE = 50;

export function EventsView() {
  const [camera, setCamera] = useState('');
  const [type, setType] = useState('');
  const { events, error, more, loadMore, busy } = useEvents(camera, type);
  const state = eventStream.value;
  return (
    <>
      <div class="title">
        <h1 tabIndex={-1}>Events</h1>
        <PauseButton />
      </div>
      <form class="filters" onSubmit={(event) => event.preventDefault()} aria-label="Which events">
        <label>
          Camera
          <select value={camera} onChange={(event) => setCamera(event.currentTarget.value)}>
            <option value="">All cameras</option>
            {[...cameras.value].map(([id, watched]) => (
              <option key={id} value={id}>
                {watched.camera.value.name}
              </option>
            ))}
          </select>
        </label>
        <label>
          What
          <select value={type} onChange={(event) => setType(event.currentTarget.value)}>
            <option value="">Everything</option>
            {Object.entries(EVENT_WORDS).map(([each, words]) => (
              <option key={each} value={each}>
                {words}
              </option>
            ))}
          </select>
        </label>
      </form>
      {state?.open === false && (
        <p class="notice" role="status">
          New events do not come at the moment: {state.reason}. They are fetched once the service answers again.
        </p>
      )}
      {error && <Failed title="The events could not be loaded" reason={error.message} retry={loadMore} />}
      {events === undefined ? (
        !error && <Loading what="events" />
      ) : events.length === 0 ? (
        <Empty title="No such event">As soon as something happens, it is listed here.</Empty>
      ) : (
        <section class="card" aria-label="Events, the newest first">
          <ol class="event-list">
            {events.map((event) => (
              <EventItem key={event.id} event={event} />
            ))}
          </ol>
        </section>
      )}
      {more && (
        <p class="centre">
          <button type="button" onClick={loadMore} disabled={busy}>
            Show older events
          </button>
        </p>
      )}
    </>
  );
}

/** The events of a filter: those that the service has, and in front of them those that happen. */
function useEvents(camera: string, type: string) {
  const { all, error, busy, more } = usePages<{ events: readonly ServiceEvent[]; more: boolean }>(`${camera} ${type}`, async (before, signal) => {
    const filter = { camera, type, before: before?.events.at(-1)?.sequence, limit: PAGE };
    const { events } = await ask<{ events: ServiceEvent[] }>(`v1/events${query(filter)}`, { signal });
    return { events: [...(before?.events ?? []), ...events], more: events.length === PAGE };
  });
  const top = all?.events[0]?.sequence ?? 0;
  const wanted = (event: ServiceEvent) => (camera === '' || event.camera === camera) && (type === '' || event.type === type);
  const happened = shownEvents.value.filter((event) => event.sequence > top && wanted(event));
  return { events: all && [...happened, ...all.events], error, more: all?.more ?? false, busy, loadMore: more };
}
