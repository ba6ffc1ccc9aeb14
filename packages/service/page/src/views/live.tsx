import { EventItem } from './event-item';
import { CameraCard } from './camera';
import { Icon } from '../parts/icon';
import { Empty } from '../parts/states';
import { to } from '../route';
import { cameras, paused, shownEvents } from '../state';

const SHOWN = 8;

export function LiveView() {
  const all = [...cameras.value.values()];
  return (
    <>
      <div class="title">
        <h1 tabIndex={-1}>Live</h1>
        <PauseButton />
      </div>
      <div class="live">
        <section class="cameras" aria-label="Cameras">
          {all.length === 0 ? (
            <Empty title="There is no camera yet">Cameras are written into the service's configuration, under cameras.</Empty>
          ) : (
            all.map((watched) => <CameraCard key={watched.camera.peek().id} watched={watched} />)
          )}
        </section>
        <section class="card newest" aria-labelledby="newest">
          <header>
            <h2 id="newest">Newest events</h2>
            <a class="small" href={to('events')}>
              All events
            </a>
          </header>
          {shownEvents.value.length === 0 ? (
            <p class="muted">Nothing has happened yet.</p>
          ) : (
            <ol class="event-list">
              {shownEvents.value.slice(0, SHOWN).map((event) => (
                <EventItem key={event.id} event={event} />
              ))}
            </ol>
          )}
        </section>
      </div>
    </>
  );
}

export function PauseButton() {
  return (
    <button type="button" class="with-icon" onClick={() => (paused.value = !paused.value)}>
      <Icon name={paused.value ? 'play' : 'pause'} />
      {paused.value ? 'Go on' : 'Pause'}
    </button>
  );
}
