import { execFile, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from './broker.js';
import { visits } from './service.js';
import { findProgram } from './wait.js';

export const ffmpeg = findProgram('ffmpeg');
export const vlc = findProgram('cvlc');

/** The visits as a film, so many times; `remove` takes its folder away. */
export async function makeFilm(times = 1): Promise<{ film: string; folder: string; remove(): void }> {
  const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-film-'));
  chmodSync(folder, 0o755); // VLC's other user reads from here
  const film = join(folder, 'film.mp4');
  const frames = Array(times).fill(await visits()).flat() as Buffer[];
  for (const [i, jpeg] of frames.entries()) writeFileSync(join(folder, `${String(i).padStart(3, '0')}.jpg`), jpeg);
  const h264 = ['-c:v', 'libx264', '-preset', 'ultrafast', '-crf', '20', '-g', '10', '-pix_fmt', 'yuv420p'];
  await promisify(execFile)(ffmpeg!, ['-loglevel', 'error', '-framerate', '10', '-i', join(folder, '%03d.jpg'), ...h264, film]);
  return { film, folder, remove: () => rmSync(folder, { recursive: true }) };
}

/** VLC as an RTSP server that plays a film over and over. */
export async function rtspServer(film: string, folder: string): Promise<{ url: string; close(): void }> {
  const url = `rtsp://127.0.0.1:${await freePort()}/door`;
  const args = ['-I', 'dummy', '--no-audio', '--loop', film, '--sout', `#rtp{sdp=${url}}`, '--sout-keep'];
  // VLC refuses to run for root.
  const user = process.getuid?.() === 0 ? { uid: 65534, gid: 65534, env: { ...process.env, HOME: folder } } : {};
  const child = spawn(vlc!, args, { stdio: 'ignore', ...user });
  return { url, close: () => void child.kill('SIGKILL') };
}
