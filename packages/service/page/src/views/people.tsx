import { useEffect, useState } from 'preact/hooks';
import { ask, query, type ApiError } from '../api';
import { Empty, Failed, Loading } from '../parts/states';
import { Time } from '../parts/time';
import { route, to } from '../route';
import type { Person } from '../types';
import { PersonView } from './person';

const PAGE = 50;
const TYPING = 250;

interface Page {
  people: Person[];
  next?: string;
}

export function PeopleView() {
  const { id } = route.value;
  return id === undefined ? <PeopleList /> : <PersonView key={id} id={id} />;
}

function PeopleList() {
  const [text, setText] = useState('');
  const { people, next, error, load, busy } = usePeople(text);
  return (
    <>
      <div class="title">
        <h1 tabIndex={-1}>People</h1>
        <a class="button main" href={to('enrol')}>
          Enrol somebody
        </a>
      </div>
      <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
        <label>
          Find by name
          <input type="search" value={text} autocomplete="off" onInput={(event) => setText(event.currentTarget.value)} />
        </label>
      </form>
      {error && <Failed title="The people could not be loaded" reason={error.message} retry={load} />}
      {people === undefined && !error && <Loading what="people" />}
      {people?.length === 0 && (
        <Empty title={text === '' ? 'Nobody is enrolled yet' : 'Nobody has such a name'}>
          {text === '' ? 'Whoever is enrolled with a photo is recognised at the cameras.' : 'Names are compared without regard to accents and capital letters.'}
        </Empty>
      )}
      {people !== undefined && people.length > 0 && (
        <ul class="card people" aria-label="People">
          {people.map(({ id, name, faces, created }) => (
            <li key={id}>
              <a href={to('people', id)}>{name}</a>
              <span class="muted small">
                {faces === 1 ? '1 face' : `${faces} faces`} · since <Time at={created} day />
              </span>
            </li>
          ))}
        </ul>
      )}
      {next !== undefined && (
        <p class="centre">
          <button type="button" onClick={load} disabled={busy}>
            Show more people
          </button>
        </p>
      )}
    </>
  );
}

/** People whose names have this in them, a page more with each `load`. */
function usePeople(search: string) {
  const [page, setPage] = useState<Page>();
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const load = async (before: Page | undefined, signal?: AbortSignal) => {
    setBusy(true);
    try {
      const answer = await ask<Page>(`v1/people${query({ limit: PAGE, search: search.trim(), cursor: before?.next })}`, signal ? { signal } : {});
      setPage({ ...answer, people: [...(before?.people ?? []), ...answer.people] });
      setError(undefined);
    } catch (failure) {
      if (!signal?.aborted) setError(failure as ApiError);
    }
    if (!signal?.aborted) setBusy(false);
  };
  useEffect(() => {
    const end = new AbortController();
    const timer = setTimeout(() => void load(undefined, end.signal), search === '' ? 0 : TYPING);
    return () => {
      clearTimeout(timer);
      end.abort();
    };
  }, [search]);
  return { people: page?.people, next: page?.next, error, busy, load: () => void load(page) };
}
