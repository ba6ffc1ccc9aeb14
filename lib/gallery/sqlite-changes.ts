import { type Delta, type FacePage, type FilledPage, type IndexSource, labelOf, type Moment, pageIn, type SnapshotAbout } from './database';
import type { FaceRow, GalleryFile } from './sqlite-file';

/** Most new faces at once. No transaction of ours adds as many, so that an index is never between two moments. */
const DELTA = 65536;

/** What an index is built from and kept up to date by, whoever has changed the file. */
export class Changes {
  readonly #file: GalleryFile;
  #seenVersion = -1;
  #seenChanges = 0;
  #seenFace = 0;

  constructor(file: GalleryFile) {
    this.#file = file;
  }

  /** From here on `delta` tells what is new. */
  source(): IndexSource {
    return this.#file.read(() => {
      const about = this.#file.get('SELECT changes, snapshot, snapshot_changes, snapshot_face FROM gallery') as Record<
        string,
        number | string | null
      >;
      this.#seenChanges = about.changes as number;
      this.#seenFace = this.#lastFace();
      const { snapshot } = about;
      return {
        ...{ faces: this.#file.pluck('SELECT count(*) FROM faces').get() as number, moment: this.#moment() },
        ...(snapshot === null ? {} : { snapshot: { about: JSON.parse(snapshot as string) as SnapshotAbout, face: about.snapshot_face as number } }),
        removed: snapshot === null ? new BigInt64Array() : this.#removedSince(about.snapshot_changes as number, about.snapshot_face as number),
      };
    });
  }

  /** Writes faces by number, behind `after` and up to `last`, into memory that the other thread sees too. */
  fillPage(after: number, last: number, memory: SharedArrayBuffer): FilledPage {
    return this.#fill(pageIn(memory, this.#file.mark.dimension), after, last);
  }

  #fill({ labels, features }: FacePage, after: number, last: number): FilledPage {
    const { dimension } = this.#file.mark;
    const rows = this.#file.each(
      'SELECT number, id, person, model, features FROM faces WHERE number > ? AND number <= ? ORDER BY number LIMIT ?',
      ...[after, last, labels.length],
    ) as Iterable<FaceRow>;
    let count = 0;
    let next = last;
    for (const row of rows) {
      this.#file.featuresOf(row, features.subarray(count * dimension, (count + 1) * dimension));
      labels[count++] = labelOf(row.person, row.number);
      next = row.number;
    }
    return { count, next };
  }

  /** Whether any connection has written since this was asked last; cheap. */
  maybeChanged(): boolean {
    const version = this.#file.dataVersion();
    const changed = version !== this.#seenVersion;
    this.#seenVersion = version;
    return changed;
  }

  /** What is new since `source`, or since the delta before. It comes in parts where it is much; undefined once there is nothing. */
  delta(): Delta | undefined {
    return this.#file.read(() => {
      const { changes, model } = this.#file.get('SELECT changes, model FROM gallery') as { changes: number; model: number };
      if (model !== this.#file.model) throw this.#file.changedModel();
      if (changes === this.#seenChanges) return undefined;
      const before = this.#seenFace;
      const found = this.#file.pluck('SELECT count(*) FROM (SELECT 1 FROM faces WHERE number > ? LIMIT ?)').get(before, DELTA) as number;
      const added = { labels: new BigInt64Array(found), features: new Float32Array(found * this.#file.mark.dimension) };
      if (found > 0) this.#seenFace = this.#fill(added, before, Number.MAX_SAFE_INTEGER).next;
      const last = found < DELTA;
      const removed = last ? this.#removedSince(this.#seenChanges, before) : new BigInt64Array();
      if (last) this.#seenChanges = changes;
      return { added, removed, moment: this.#moment() };
    });
  }

  #moment(): Moment {
    return { changes: this.#seenChanges, face: this.#seenFace };
  }

  #removedSince(change: number, last: number): BigInt64Array {
    const rows = this.#file.all('SELECT face, person FROM removals WHERE change > ? AND face <= ?', change, last) as {
      face: number;
      person: number;
    }[];
    return BigInt64Array.from(rows, ({ face, person }) => labelOf(person, face));
  }

  /** Notes which file has the index as of a moment; false where faces were removed since, which are in it. */
  noteSnapshot(about: SnapshotAbout, { face, changes }: Moment): boolean {
    if (this.#file.pluck('SELECT count(*) FROM removals WHERE change > ?').get(changes) !== 0) return false;
    this.#file.run('UPDATE gallery SET snapshot = ?, snapshot_face = ?, snapshot_changes = ?', JSON.stringify(about), face, changes);
    return true;
  }

  #lastFace(): number {
    return (this.#file.pluck('SELECT max(number) FROM faces').get() as number | null) ?? 0;
  }
}
