import { type Command, UsageError, exitCode, parse } from './command';
import { filterOf, galleryOptions, galleryUsage, openGallery, whereOptions, whereUsage } from './gallery';
import { count, table } from './table';

const LONGEST_METADATA = 60;

export const people: Command = {
  name: 'people',
  summary: 'list the people of the gallery',
  usage: `faiss-vision people [--where KEY=VALUE] [--json] [options]

  --json                one JSON object a line on standard output
${whereUsage}
${galleryUsage}

Exit code 0, or 1 where there is nobody.`,

  async run(args, io) {
    const { values, positionals } = parse(args, { ...galleryOptions, ...whereOptions, json: { type: 'boolean', default: false } });
    if (positionals.length > 0) throw new UsageError(`people takes no names, got ${JSON.stringify(positionals[0])}`);
    const filter = filterOf(values.where);
    const gallery = await openGallery(values);
    try {
      const rows: string[][] = [];
      let shown = 0;
      let faces = 0;
      for await (const person of gallery.people(filter && { filter })) {
        shown++;
        faces += person.faces;
        if (values.json) io.stdout.write(`${JSON.stringify(person)}\n`);
        else rows.push([person.name, String(person.faces), person.created.toISOString().slice(0, 10), short(JSON.stringify(person.metadata)), person.id]);
      }
      if (!values.json && shown > 0) io.stdout.write(table(['Name', '>Faces', 'Enrolled', 'Metadata', 'Id'], rows));
      if (!values.json) io.stdout.write(`  ${shown === 1 ? '1 person' : `${shown} people`}, ${count(faces, 'face')}\n`);
      return shown > 0 ? exitCode.yes : exitCode.no;
    } finally {
      await gallery.close();
    }
  },
};

function short(metadata: string): string {
  if (metadata === '{}') return '';
  return metadata.length <= LONGEST_METADATA ? metadata : `${metadata.slice(0, LONGEST_METADATA - 3)}...`;
}
