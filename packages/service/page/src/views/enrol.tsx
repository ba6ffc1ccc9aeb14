import { useEffect, useRef, useState } from 'preact/hooks';
import { ask, query, type ApiError } from '../api';
import { Icon } from '../parts/icon';
import { route, to } from '../route';
import { cameras } from '../state';
import type { Enrolled } from '../types';
import { Frame } from './camera';
import { VerdictList, type Attempt } from './verdicts';

const TYPES = 'image/jpeg,image/png,image/webp';

/** A person gets a face: from photos, or from what a camera shows now. */
export function EnrolView() {
  const [name, setName] = useState(route.peek().query.get('name') ?? '');
  const [attempts, setAttempts] = useState<readonly Attempt[]>([]);
  const [wanted, setWanted] = useState(false);
  const field = useRef<HTMLInputElement>(null);
  const number = useRef(0);
  const running = useRef(Promise.resolve());
  const asked = name.trim();

  const change = (id: number, part: Partial<Attempt>) => setAttempts((all) => all.map((each) => (each.id === id ? { ...each, ...part } : each)));
  const run = (attempt: Attempt, send: () => Promise<Enrolled>) => {
    setAttempts((all) => [attempt, ...all]);
    // One after the other: the service looks at one photo at a time, and the verdicts come in the order of the photos.
    running.current = running.current.then(async () => {
      try {
        change(attempt.id, { enrolled: await send() });
      } catch (error) {
        change(attempt.id, { refused: error as ApiError });
      }
    });
  };
  /** Whether there is a name; where there is none, it is asked for. */
  const named = () => {
    setWanted(asked === '');
    if (asked === '') field.current?.focus();
    return asked !== '';
  };
  const enrolFiles = (files: Iterable<File>) => {
    if (!named()) return;
    for (const file of files) {
      const attempt = { id: number.current++, title: file.name, file };
      run(attempt, () => ask<Enrolled>(`v1/people${query({ name: asked })}`, { method: 'POST', body: file }));
    }
  };
  const enrolFrom = (camera: string, title: string) => {
    if (!named()) return;
    run({ id: number.current++, title }, () => ask<Enrolled>('v1/people/from-camera', { method: 'POST', json: { name: asked, camera } }));
  };

  return (
    <>
      <p class="back">
        <a href={to('people')}>All people</a>
      </p>
      <div class="title">
        <h1 tabIndex={-1}>Enrol somebody</h1>
      </div>
      <section class="card enrol-name">
        <label for="enrol-name">Name</label>
        <input
          id="enrol-name"
          ref={field}
          value={name}
          maxLength={256}
          autocomplete="off"
          required
          aria-invalid={wanted && asked === ''}
          aria-describedby="enrol-name-note"
          onInput={(event) => setName(event.currentTarget.value)}
        />
        <p id="enrol-name-note" class={wanted && asked === '' ? 'bad' : 'muted small'} role={wanted && asked === '' ? 'alert' : undefined}>
          {wanted && asked === ''
            ? 'Whose face is it? Write the name first, then choose again.'
            : 'Somebody of that name who is enrolled already gets another face.'}
        </p>
      </section>
      <div class="enrol">
        <Photos onFiles={enrolFiles} />
        <FromCamera onTake={enrolFrom} />
      </div>
      <VerdictList attempts={attempts} />
    </>
  );
}

function Photos({ onFiles }: { onFiles(files: Iterable<File>): void }) {
  const [over, setOver] = useState(false);
  // A photo that misses its place must not take the place of the page.
  useEffect(() => {
    const keep = (event: DragEvent) => event.preventDefault();
    addEventListener('dragover', keep);
    addEventListener('drop', keep);
    return () => {
      removeEventListener('dragover', keep);
      removeEventListener('drop', keep);
    };
  }, []);
  return (
    <section class="card" aria-labelledby="from-photos">
      <h2 id="from-photos">From photos</h2>
      <label
        class={`drop ${over ? 'drop-over' : ''}`}
        onDragOver={() => setOver(true)}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          setOver(false);
          onFiles([...(event.dataTransfer?.files ?? [])]);
        }}
      >
        <input
          class="hidden"
          type="file"
          accept={TYPES}
          multiple
          onChange={({ currentTarget }) => {
            onFiles([...(currentTarget.files ?? [])]);
            currentTarget.value = '';
          }}
        />
        <Icon name="photo" />
        <span>
          <b>Drop photos here</b> or choose them
        </span>
        <span class="muted small">One face each, from the front, sharp. JPEG, PNG or WebP.</span>
      </label>
    </section>
  );
}

function FromCamera({ onTake }: { onTake(camera: string, title: string): void }) {
  const usable = [...cameras.value.values()].filter(({ camera }) => camera.value.faces);
  const [id, setId] = useState(route.peek().query.get('camera') ?? usable[0]?.camera.peek().id ?? '');
  const watched = cameras.value.get(id);
  const alive = watched?.camera.value.state === 'live';
  return (
    <section class="card" aria-labelledby="from-camera">
      <h2 id="from-camera">From a camera</h2>
      {usable.length === 0 && <p class="muted">No camera looks for faces.</p>}
      {usable.length > 0 && (
        <>
          <label for="enrol-camera">Camera</label>
          <select id="enrol-camera" value={id} onChange={(event) => setId(event.currentTarget.value)}>
            {usable.map(({ camera }) => (
              <option key={camera.value.id} value={camera.value.id}>
                {camera.value.name}
              </option>
            ))}
          </select>
          {watched && <Frame key={id} watched={watched} />}
          <button type="button" class="main" disabled={!alive} onClick={() => onTake(id, `Frame of ${watched!.camera.value.name}`)}>
            Enrol the face in this picture
          </button>
          <p class="muted small">The newest frame is taken. It may show one face only.</p>
        </>
      )}
    </section>
  );
}
