import { useEffect, useState } from 'preact/hooks';
import { ask, type ApiError } from '../api';
import { useAsk } from '../parts/ask';
import { Dialog } from '../parts/dialog';
import { Failed, Loading } from '../parts/states';
import { Time } from '../parts/time';
import { to } from '../route';
import type { Person, PersonFace } from '../types';

/** One person: their name, their faces, and how they are forgotten. */
export function PersonView({ id }: { id: string }) {
  const path = `v1/people/${encodeURIComponent(id)}`;
  const { value, error, again } = useAsk<{ person: Person; faces: PersonFace[] }>(path);
  const [asking, setAsking] = useState<'person' | PersonFace>();
  const person = value?.person;
  useEffect(() => {
    // The focus was on the button of a face that is gone.
    if (value && document.activeElement === document.body) document.querySelector('h1')?.focus();
  }, [value]);
  return (
    <>
      <p class="back">
        <a href={to('people')}>All people</a>
      </p>
      <div class="title">
        <h1 tabIndex={-1}>{person?.name ?? 'A person'}</h1>
      </div>
      {error && <Failed title="This person could not be loaded" reason={error.message} retry={again} />}
      {!value && !error && <Loading what="this person" />}
      {value && person && (
        <>
          <Rename person={person} path={path} onDone={again} />
          <section class="card" aria-labelledby="faces">
            <header>
              <h2 id="faces">{value.faces.length === 1 ? '1 face' : `${value.faces.length} faces`}</h2>
              <a class="button" href={to('enrol', undefined, { name: person.name })}>
                Add photos
              </a>
            </header>
            {value.faces.length === 0 && <p class="muted">Without a face nobody is recognised as {person.name}.</p>}
            <ul class="people">
              {value.faces.map((face, i) => (
                <li key={face.id}>
                  <span>
                    Face {i + 1}, enrolled <Time at={face.created} />
                    <span class="muted small"> {faceFigures(face)}</span>
                  </span>
                  <button type="button" class="quiet" aria-label={`Forget face ${i + 1}`} onClick={() => setAsking(face)}>
                    Forget
                  </button>
                </li>
              ))}
            </ul>
          </section>
          <section class="card" aria-labelledby="forget">
            <h2 id="forget">Forget {person.name}</h2>
            <p class="muted">All faces are removed from the gallery and cannot be brought back. Events that have happened stay.</p>
            <button type="button" class="danger" onClick={() => setAsking('person')}>
              Forget {person.name}
            </button>
          </section>
          {asking !== undefined && (
            <Forget
              what={asking === 'person' ? person.name : 'this face'}
              path={asking === 'person' ? path : `${path}/faces/${encodeURIComponent(asking.id)}`}
              onClose={() => setAsking(undefined)}
              onDone={() => {
                setAsking(undefined);
                if (asking === 'person') location.hash = to('people');
                else again();
              }}
            />
          )}
        </>
      )}
    </>
  );
}

export function faceFigures({ score, box }: Pick<PersonFace, 'score' | 'box'>): string {
  const figures = [];
  if (score !== undefined) figures.push(`detector's score ${score.toFixed(3)}`);
  if (box) figures.push(`${Math.round(box.width)} × ${Math.round(box.height)} pixels`);
  return figures.join(', ');
}

function Rename({ person, path, onDone }: { person: Person; path: string; onDone(): void }) {
  const [name, setName] = useState(person.name);
  const [failure, setFailure] = useState<string>();
  const [done, setDone] = useState('');
  const submit = async (event: Event) => {
    event.preventDefault();
    try {
      await ask(path, { method: 'PATCH', json: { name: name.trim() } });
      setFailure(undefined);
      setDone(`Renamed to ${name.trim()}`);
      onDone();
    } catch (error) {
      setFailure((error as ApiError).message);
    }
  };
  return (
    <form class="card rename" onSubmit={(event) => void submit(event)}>
      <label for="name">Name</label>
      <div class="row">
        <input
          id="name"
          value={name}
          required
          maxLength={256}
          autocomplete="off"
          aria-invalid={failure !== undefined}
          aria-describedby={failure === undefined ? undefined : 'rename-failure'}
          onInput={(event) => setName(event.currentTarget.value)}
        />
        <button type="submit" disabled={name.trim() === '' || name.trim() === person.name}>
          Rename
        </button>
      </div>
      <p class="hidden" role="status">
        {done}
      </p>
      {failure !== undefined && (
        <p id="rename-failure" class="bad" role="alert">
          {failure}
        </p>
      )}
    </form>
  );
}

function Forget({ what, path, onClose, onDone }: { what: string; path: string; onClose(): void; onDone(): void }) {
  const [failure, setFailure] = useState<string>();
  const [busy, setBusy] = useState(false);
  const forget = async () => {
    setBusy(true);
    try {
      await ask(path, { method: 'DELETE' });
      onDone();
    } catch (error) {
      setFailure((error as ApiError).message);
      setBusy(false);
    }
  };
  return (
    <Dialog title={`Forget ${what}?`} onClose={onClose}>
      <p>This cannot be undone.</p>
      {failure !== undefined && (
        <p class="bad" role="alert">
          {failure}
        </p>
      )}
      <div class="row row-end">
        <button type="button" onClick={onClose}>
          Keep
        </button>
        <button type="button" class="danger" disabled={busy} onClick={() => void forget()}>
          Forget
        </button>
      </div>
    </Dialog>
  );
}
