import { useState } from 'preact/hooks';
import { ask, query } from '../api';
import { useAsk } from '../parts/ask';
import { Empty, Failed, Loading } from '../parts/states';
import { Time } from '../parts/time';
import { cameraName } from '../state';
import type { AuditEntry, Rule } from '../types';
import { action, list, when } from '../words';

const PAGE = 50;
const REFRESH = 5000;
const ENDS: Record<AuditEntry['state'], string> = {
  pending: 'about to begin',
  started: 'under way',
  done: 'done',
  failed: 'failed',
  unknown: 'nobody knows whether it was done',
  expired: 'too late, not done',
};

export function RulesView() {
  const { value, error, again } = useAsk<{ rules: Rule[] }>('v1/rules', REFRESH);
  return (
    <>
      <div class="title">
        <h1 tabIndex={-1}>Rules</h1>
      </div>
      {error && <Failed title="The rules could not be loaded" reason={error.message} retry={again} />}
      {!value && !error && <Loading what="rules" />}
      {value?.rules.length === 0 && <Empty title="There is no rule">Rules are written into the service's configuration, under rules.</Empty>}
      <div class="rules">{value?.rules.map((rule) => <RuleCard key={rule.name} rule={rule} />)}</div>
      <Audit />
    </>
  );
}

function RuleCard({ rule }: { rule: Rule }) {
  const { name, enabled, opensDoor, atMost, validFor, actions } = rule;
  const { value } = useAsk<{ entries: AuditEntry[] }>(`v1/audit${query({ rule: name, limit: 1 })}`, REFRESH);
  const last = value?.entries[0];
  const heading = `rule-${name}`;
  return (
    <article class="card rule" aria-labelledby={heading}>
      <header>
        <h2 id={heading}>{name}</h2>
        <span class="chips">
          {opensDoor && <span class="chip chip-door">May open a door</span>}
          <span class={`chip ${enabled ? 'chip-live' : 'chip-off'}`}>{enabled ? 'On' : 'Off'}</span>
        </span>
      </header>
      <p>
        {when(rule, cameraName)}, it {list(actions.map(action), 'and')}.
      </p>
      <p class="muted small">
        {atMost ? `At most ${atMost.times === 1 ? 'once' : `${atMost.times} times`} in ${atMost.seconds} s. ` : 'As often as it happens. '}
        Begins within {validFor} s or not at all.
      </p>
      <p class="rule-last">
        {!last ? (
          <span class="muted">{value ? 'It has not acted yet.' : '…'}</span>
        ) : (
          <>
            Last acted <Time at={last.created} />: <b class={`end end-${last.state}`}>{ENDS[last.state]}</b>
          </>
        )}
      </p>
    </article>
  );
}

/** What the rules did, the newest first. */
function Audit() {
  const { value, error, again } = useAsk<{ entries: AuditEntry[] }>(`v1/audit${query({ limit: PAGE })}`, REFRESH);
  const [older, setOlder] = useState<AuditEntry[]>([]);
  const [ended, setEnded] = useState(false);
  const [failure, setFailure] = useState<string>();
  const newest = value?.entries ?? [];
  // What came since the older ones were loaded pushes them down; nothing is listed twice.
  const entries = [...newest, ...older.filter(({ id }) => id < (newest.at(-1)?.id ?? Infinity))];
  const loadMore = async () => {
    try {
      const page = await ask<{ entries: AuditEntry[] }>(`v1/audit${query({ limit: PAGE, before: entries.at(-1)!.id })}`);
      setOlder([...entries, ...page.entries]);
      setEnded(page.entries.length < PAGE);
      setFailure(undefined);
    } catch (error) {
      setFailure((error as Error).message);
    }
  };
  return (
    <section class="card" aria-labelledby="audit">
      <h2 id="audit">What the rules did</h2>
      {error && <Failed title="The audit could not be loaded" reason={error.message} retry={again} />}
      {value && entries.length === 0 && <p class="muted">Nothing yet.</p>}
      {entries.length > 0 && (
        <table class="stack">
          <thead>
            <tr>
              <th scope="col">When</th>
              <th scope="col">Rule</th>
              <th scope="col">Camera</th>
              <th scope="col">Action</th>
              <th scope="col">How it ended</th>
            </tr>
          </thead>
          <tbody>
            {entries.map(({ id, created, rule, camera, kind, state, detail }) => (
              <tr key={id}>
                <td data-head="When">
                  <Time at={created} />
                </td>
                <td data-head="Rule">{rule}</td>
                <td data-head="Camera">{cameraName(camera)}</td>
                <td data-head="Action">{kind}</td>
                <td data-head="How it ended">
                  <span>
                    <span class={`end end-${state}`}>{ENDS[state]}</span>
                    {detail !== null && <span class="muted"> {detail}</span>}
                  </span>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {failure !== undefined && <Failed title="Older entries could not be loaded" reason={failure} />}
      {newest.length === PAGE && !ended && (
        <p class="centre">
          <button type="button" onClick={() => void loadMore()}>
            Show older entries
          </button>
        </p>
      )}
    </section>
  );
}
