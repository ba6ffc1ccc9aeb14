import type { ApiError } from '../api';
import { StateChip } from './camera';
import { useAsk } from '../parts/ask';
import { Failed, Loading } from '../parts/states';
import { Time } from '../parts/time';
import type { Camera, Readiness, Status } from '../types';
import { bytes, duration } from '../words';

const REFRESH = 5000;

export function HealthView() {
  const status = useAsk<Status>('v1/status', REFRESH);
  const ready = useAsk<Readiness>('v1/ready', REFRESH);
  const cameras = useAsk<{ cameras: Camera[] }>('v1/cameras', REFRESH);
  const error = status.error ?? cameras.error;
  return (
    <>
      <div class="title">
        <h1 tabIndex={-1}>Health</h1>
        {ready.value && <span class="chip chip-live">Ready</span>}
        {ready.error && <span class="chip chip-lost">Not ready</span>}
      </div>
      {failing(ready.error).map(([what, { detail }]) => (
        <Failed key={what} title={`Not ready: ${what}`} reason={detail ?? 'nothing more is known'} />
      ))}
      {error && <Failed title="The service's figures could not be loaded" reason={error.message} retry={status.again} />}
      {!status.value && !error && <Loading what="figures" />}
      {status.value && <Figures status={status.value} />}
      {status.value && <Delivery status={status.value} />}
      {cameras.value && <Cameras cameras={cameras.value.cameras} />}
    </>
  );
}

/** What is the matter, as an answer with status 503 says it. */
function failing(error: ApiError | undefined) {
  const { checks } = (error?.failure ?? {}) as Partial<Readiness>;
  return Object.entries(checks ?? {}).filter(([, { ok }]) => !ok);
}

function Figures({ status: { version, started, model, people, events, memory, eventLoop } }: { status: Status }) {
  const figures: [string, string | preact.JSX.Element][] = [
    ['Version', version],
    ['Running for', duration((Date.now() - Date.parse(started)) / 1000)],
    ['People', people.toLocaleString('en')],
    ['Newest event', `no. ${events.toLocaleString('en')}`],
    ['Recogniser', `${model.recognizer}, threshold ${model.threshold}`],
    ['Depth', model.depth === null ? 'off' : model.depth.seeded ? 'made-up weights, no real depth' : 'on'],
    ['Memory', bytes(memory)],
    ['Event loop, 99th percentile', `${eventLoop.p99.toFixed(1)} ms`],
  ];
  return (
    <section class="card" aria-labelledby="figures">
      <h2 id="figures">The service</h2>
      <dl class="figures">
        {figures.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

function Delivery({ status: { owed, mqtt } }: { status: Status }) {
  const sinks = Object.entries(owed);
  return (
    <section class="card" aria-labelledby="delivery">
      <h2 id="delivery">Delivery</h2>
      {mqtt && (
        <p>
          MQTT broker <span class={`chip ${mqtt.connected ? 'chip-live' : 'chip-lost'}`}>{mqtt.connected ? 'Connected' : 'Not connected'}</span>
        </p>
      )}
      {sinks.length === 0 ? (
        <p class="muted">No event waits to be delivered.</p>
      ) : (
        <ul class="plain">
          {sinks.map(([sink, count]) => (
            <li key={sink}>
              {sink}: <b>{count.toLocaleString('en')}</b> {count === 1 ? 'event waits' : 'events wait'}
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function Cameras({ cameras }: { cameras: Camera[] }) {
  return (
    <section class="card" aria-labelledby="health-cameras">
      <h2 id="health-cameras">Cameras</h2>
      {cameras.length === 0 && <p class="muted">There is none.</p>}
      {cameras.length > 0 && (
        <table class="stack">
          <thead>
            <tr>
              <th scope="col">Camera</th>
              <th scope="col">State</th>
              <th scope="col">Since</th>
              <th scope="col" class="number">
                Frames received
              </th>
              <th scope="col" class="number">
                Looked at
              </th>
              <th scope="col" class="number">
                Too soon
              </th>
              <th scope="col" class="number">
                Dropped
              </th>
              <th scope="col" class="number">
                Failed
              </th>
            </tr>
          </thead>
          <tbody>
            {cameras.map(({ id, name, source, state, reason, since, frames }) => (
              <tr key={id}>
                <th scope="row" data-head="Camera">
                  {name}
                  <span class="muted small source">{source}</span>
                </th>
                <td data-head="State">
                  <StateChip state={state} />
                  {reason !== undefined && <span class="muted small source">{reason}</span>}
                </td>
                <td data-head="Since">
                  <Time at={since} />
                </td>
                <Count head="Frames received" value={frames.received} />
                <Count head="Looked at" value={frames.analysed} />
                <Count head="Too soon" value={frames.skipped} />
                <Count head="Dropped" value={frames.dropped} />
                <Count head="Failed" value={frames.failed} />
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

function Count({ head, value }: { head: string; value: number }) {
  return (
    <td class="number" data-head={head}>
      {value.toLocaleString('en')}
    </td>
  );
}
