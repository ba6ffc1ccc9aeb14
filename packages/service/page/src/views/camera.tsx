import { useEffect, useRef, useState } from 'preact/hooks';
import { Icon } from '../parts/icon';
import { Time } from '../parts/time';
import { playDepth, playFrames } from '../frames';
import { to } from '../route';
import { may, type Watched } from '../state';
import type { Camera, Live, LiveFace } from '../types';
import { faceName, percent, picture } from '../words';

const STATES: Record<Camera['state'], string> = { starting: 'Starting', live: 'Live', stalled: 'Stalled', lost: 'Lost' };

/** A camera: its frame with the faces on it, how it is, and how near things are. */
export function CameraCard({ watched }: { watched: Watched }) {
  const camera = watched.camera.value;
  const { id, name, state, faces, depth } = camera;
  const heading = `camera-${id}`;
  return (
    <article class={`card camera ${depth ? 'camera-with-depth' : ''}`} aria-labelledby={heading}>
      <header>
        <h2 id={heading}>{name}</h2>
        <StateChip state={state} />
      </header>
      <div class="camera-pictures">
        <Frame watched={watched} />
        {depth && <DepthPanel watched={watched} />}
      </div>
      <footer>
        <span class="muted small">
          <Since camera={camera} />
        </span>
        {faces && state === 'live' && may('people') && (
          <a class="small" href={to('enrol', undefined, { camera: id })} aria-label={`Enrol a face from ${name}`}>
            Enrol a face
          </a>
        )}
      </footer>
    </article>
  );
}

export function StateChip({ state }: { state: Camera['state'] }) {
  return <span class={`chip chip-${state}`}>{STATES[state]}</span>;
}

function Since({ camera: { state, since } }: { camera: Camera }) {
  return (
    <>
      {STATES[state]} since <Time at={since} />
    </>
  );
}

/** The newest frame, with a box, a name and a score for each face on it. */
export function Frame({ watched }: { watched: Watched }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [live, setLive] = useState<Live>();
  const camera = watched.camera.value;
  useEffect(() => playFrames(watched, { canvas: canvas.current!, onShown: setLive }), [watched]);
  const dead = camera.state === 'lost' || camera.state === 'stalled';
  return (
    <div class={`frame ${dead ? 'frame-dead' : ''}`} data-frame={live?.frame}>
      <canvas ref={canvas} role="img" aria-label={picture(camera.name, live)} width={640} height={480} />
      {live && !dead && live.faces.map((face) => <FaceBox key={face.track} face={face} live={live} />)}
      {(dead || !live) && (
        <div class="frame-note">
          <p>
            {dead && <Icon name="warning" />}
            {camera.state === 'live' || camera.state === 'starting' ? 'Waiting for the first frame' : STATES[camera.state]}
          </p>
          {camera.reason !== undefined && <p class="frame-reason">{camera.reason}</p>}
        </div>
      )}
    </div>
  );
}

function FaceBox({ face, live }: { face: LiveFace; live: Live }) {
  const { box, score, distance, state } = face;
  const share = (value: number, of: number) => `${(100 * value) / of}%`;
  const left = Math.max(0, box.x);
  const top = Math.max(0, box.y);
  const style = {
    left: share(left, live.width),
    top: share(top, live.height),
    width: share(Math.min(live.width, box.x + box.width) - left, live.width),
    height: share(Math.min(live.height, box.y + box.height) - top, live.height),
  };
  // Above the box where there is room for it.
  const place = `${box.y / live.height > 0.14 ? 'above' : 'inside'} ${left / live.width > 0.6 ? 'to-left' : ''}`;
  return (
    <div class={`face face-${state}`} style={style} aria-hidden="true">
      <span class={`face-label ${place}`}>
        <b>{faceName(face)}</b>
        <span>
          {distance !== undefined && `distance ${distance.toFixed(2)} · `}face {score.toFixed(3)}
        </span>
      </span>
    </div>
  );
}

function DepthPanel({ watched }: { watched: Watched }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [shown, setShown] = useState(false);
  const { name, state } = watched.camera.value;
  useEffect(() => playDepth(watched, canvas.current!, () => setShown(true)), [watched]);
  const { near = false, coverage } = watched.live.value ?? {};
  const alive = state === 'live';
  return (
    <section class="depth" aria-label={`Depth of ${name}`}>
      <div class={`depth-map ${alive ? '' : 'frame-dead'}`}>
        <canvas ref={canvas} role="img" aria-label={`Depth map of ${name}`} width={160} height={128} />
        {!shown && <p class="frame-note">Waiting for the first map</p>}
      </div>
      <p class={`near-light ${near && alive ? 'near-on' : ''}`} data-near={near && alive}>
        <span class="lamp" aria-hidden="true" />
        {!alive || coverage === undefined ? 'No reading' : near ? 'Something is near' : 'Nothing is near'}
      </p>
      {coverage !== undefined && alive && (
        <label class="coverage">
          <span>
            Near part of the picture <b>{percent(coverage)}</b>
          </span>
          <meter min={0} max={1} value={coverage} />
        </label>
      )}
    </section>
  );
}
