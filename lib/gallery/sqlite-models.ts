import { rmSync } from 'node:fs';
import { FaissVisionError } from '../error';
import { nameOf } from './database';
import { FACE, type FaceRow, type GalleryFile } from './sqlite-file';
import type { GalleryFace, ModelMark } from './types';

/** The change to another model: its features wait beside the present ones until all are there. */
export class NextModel {
  readonly #file: GalleryFile;

  constructor(file: GalleryFile) {
    this.#file = file;
  }

  unstaged(mark: ModelMark, limit: number, after?: string): GalleryFace[] {
    const from = after === undefined ? 0 : ((this.#file.pluck('SELECT number FROM faces WHERE id = ?').get(after) as number | undefined) ?? 0);
    const rows = this.#file.all(
      `SELECT ${FACE}, people.id AS owner FROM faces JOIN people ON people.number = person LEFT JOIN thumbnails ON thumbnails.face = faces.number
       WHERE faces.number > ? AND NOT EXISTS (SELECT 1 FROM staged WHERE staged.face = faces.number AND staged.model = ?)
       ORDER BY faces.number LIMIT ?`,
      ...[from, this.#file.modelNumber(mark) ?? -1, limit],
    ) as (FaceRow & { owner: string })[];
    return rows.map((row) => this.#file.faceFrom(row, row.owner));
  }

  stage(mark: ModelMark, faces: readonly { id: string; features: Float32Array }[]): void {
    const model = this.#file.modelNumber(mark) ?? this.#file.makeModel(mark);
    // All are of one model, so one of them tells.
    const present = this.#file.pluck('SELECT model FROM staged LIMIT 1').get();
    if (present !== undefined && present !== model) this.#file.run('DELETE FROM staged');
    for (const { id, features } of faces) {
      const packed = this.#file.packed(features, id);
      this.#file.run(
        'INSERT INTO staged SELECT number, ?, ? FROM faces WHERE id = ? ON CONFLICT DO UPDATE SET features = excluded.features',
        model,
        packed,
        id,
      );
    }
  }

  adopt(mark: ModelMark): void {
    const model = this.#file.modelNumber(mark) ?? this.#file.makeModel(mark);
    const lacking = this.#file
      .pluck('SELECT count(*) FROM faces WHERE NOT EXISTS (SELECT 1 FROM staged WHERE face = number AND staged.model = ?)')
      .get(model);
    if (lacking !== 0)
      throw new FaissVisionError('ERR_REEMBED_INCOMPLETE', `${this.#file.path}: ${String(lacking)} faces have no features of ${nameOf(mark)} yet`);
    rmSync(`${this.#file.path}.index`, { force: true });
    this.#file.run('UPDATE faces SET model = ?, features = (SELECT features FROM staged WHERE face = number)', model);
    this.#file.run('DELETE FROM staged');
    this.#file.run('UPDATE gallery SET model = ?, snapshot = NULL', model);
    this.#file.changed();
    this.#file.forgetMuch(); // without the former features
  }
}
