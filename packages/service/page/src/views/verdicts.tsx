import { useEffect, useState } from 'preact/hooks';
import type { ApiError } from '../api';
import { Icon } from '../parts/icon';
import { to } from '../route';
import type { Enrolled, Failure } from '../types';
import { faceFigures } from './person';

/** A photo or a frame that somebody is enrolled with; neither verdict: it waits. */
export interface Attempt {
  id: number;
  title: string;
  file?: File;
  enrolled?: Enrolled;
  refused?: ApiError;
}

export function VerdictList({ attempts }: { attempts: readonly Attempt[] }) {
  const newest = attempts.find(({ enrolled, refused }) => enrolled ?? refused);
  return (
    <>
      <p class="hidden" role="status">
        {newest && `${newest.title}: ${newest.refused ? `not enrolled, ${why(newest.refused)}` : 'enrolled'}`}
      </p>
      {attempts.length > 0 && (
        <section class="card" aria-labelledby="verdicts">
          <h2 id="verdicts">Verdicts</h2>
          <ul class="verdicts">
            {attempts.map((attempt) => (
              <Verdict key={attempt.id} attempt={attempt} />
            ))}
          </ul>
        </section>
      )}
    </>
  );
}

/** The gallery begins with what it calls the photo, whose name stands above. */
function why({ message }: ApiError): string {
  return message.replace(/^image: /, '');
}

function Verdict({ attempt: { title, file, enrolled, refused } }: { attempt: Attempt }) {
  const state = enrolled ? 'good' : refused ? 'refused' : 'waiting';
  return (
    <li class={`verdict verdict-${state}`}>
      <Thumbnail file={file} />
      <div>
        <p class="verdict-title">{title}</p>
        {!enrolled && !refused && <p class="muted">Looking at it …</p>}
        {enrolled && (
          <>
            <p class="good">
              <Icon name="check" /> Enrolled for <a href={to('people', enrolled.person.id)}>{enrolled.person.name}</a>
              {enrolled.created ? ', who is new' : ''}
            </p>
            <p class="muted small">{faceFigures(enrolled.face)}</p>
          </>
        )}
        {refused && (
          <>
            <p class="bad">
              <Icon name="cross" /> Not enrolled: {why(refused)}
            </p>
            <Measured failure={refused.failure} />
          </>
        )}
      </div>
    </li>
  );
}

const MEASURES: Record<string, (value: number) => [string, string]> = {
  size: (value) => ['Size of the face', `${value.toFixed(0)} pixels`],
  score: (value) => ["Detector's score", value.toFixed(3)],
  sharpness: (value) => ['Sharpness', value.toFixed(2)],
  yaw: (value) => ['Turned to the side', value.toFixed(2)],
  pitch: (value) => ['Raised or lowered', value.toFixed(2)],
  roll: (value) => ['Tilted', `${value.toFixed(0)}°`],
};

/** Everything that was measured, and which of it was not good enough. */
function Measured({ failure: { reason, measured = {} } }: { failure: Partial<Failure> }) {
  const known = Object.entries(measured).filter(([name]) => name in MEASURES);
  if (known.length === 0) return null;
  return (
    <dl class="measured">
      {known.map(([name, value]) => {
        const [words, text] = MEASURES[name]!(value);
        return (
          <div key={name} class={name === reason ? 'measured-bad' : ''}>
            <dt>{words}</dt>
            <dd>
              {text}
              {name === reason && <span class="hidden"> (not good enough)</span>}
            </dd>
          </div>
        );
      })}
    </dl>
  );
}

function Thumbnail({ file }: { file: File | undefined }) {
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    if (!file) return;
    const made = URL.createObjectURL(file);
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [file]);
  return <span class="thumbnail">{url !== undefined ? <img src={url} alt="" /> : <Icon name="photo" />}</span>;
}
