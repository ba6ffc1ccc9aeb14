import { useState } from 'preact/hooks';
import { ask, query } from '../api';
import { usePages } from '../parts/pages';
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
  const { all, error, busy, more } = usePages<Page>(
    text.trim(),
    async (before, signal) => {
      const page = await ask<Page>(`v1/people${query({ limit: PAGE, search: text.trim(), cursor: before?.next })}`, { signal });
      return { ...page, people: [...(before?.people ?? []), ...page.people] };
    },
    text === '' ? 0 : TYPING,
  );
  const people = all?.people;
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
      {error && <Failed title="The people could not be loaded" reason={error.message} retry={more} />}
      {people === undefined && !error && <Loading what="people" />}
      {people?.length === 0 && (
        <Empty title={text === '' ? 'Nobody is enrolled yet' : 'Nobody has such a name'}>
          {text === ''
            ? 'Whoever is enrolled with a photo is recognised at the cameras.'
            : 'Names are compared without regard to accents and capital letters.'}
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
      {all?.next !== undefined && (
        <p class="centre">
          <button type="button" onClick={more} disabled={busy}>
            Show more people
          </button>
        </p>
      )}
    </>
  );
}
