import { invalid } from '../image/check';

/** Where a gallery is on a Milvus server. */
export interface MilvusPlace {
  /** host:port */
  address: string;
  database: string | undefined;
  collection: string;
  /** `user:password` of the URL. */
  token: string | undefined;
  /** The URL without what is secret, for messages. */
  shown: string;
}

const FORM = "'milvus://host:19530/collection' or 'milvus://host:19530/database/collection'";
const DEFAULT_PORT = '19530';
const LONGEST = 200; // Milvus takes 255, and names of a gallery's other collections are longer

export function parseMilvusUrl(text: string): MilvusPlace {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const names = url?.pathname.split('/').slice(1) ?? [];
  const right = url !== undefined && url.hostname !== '' && url.search === '' && url.hash === '' && (names.length === 1 || names.length === 2);
  // What is wrong may have a password in it.
  if (!right) throw invalid('location', FORM, text.replace(/\/\/.*@/, '//'));
  for (const name of names) {
    if (!new RegExp(`^[A-Za-z_][A-Za-z0-9_]{0,${LONGEST - 1}}$`).test(name)) {
      throw invalid('location', `${FORM}, names of letters, digits and _, at most ${LONGEST}`, name);
    }
  }
  const address = `${url.hostname}:${url.port === '' ? DEFAULT_PORT : url.port}`;
  return {
    address,
    database: names.length === 2 ? names[0] : undefined,
    collection: names.at(-1)!,
    token: url.username === '' ? undefined : `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`,
    shown: `milvus://${address}/${names.join('/')}`,
  };
}
