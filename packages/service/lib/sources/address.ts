/** A USB camera's file, where a source is one: its number, or the file itself. */
export function deviceOf(source: string): string | undefined {
  if (/^\d+$/.test(source)) return `/dev/video${source}`;
  return /^\/dev\/(video\d+$|v4l\/)/.test(source) ? source : undefined;
}

/** Whether a source is a path: of a film or of a folder of pictures. */
export function isPath(source: string): boolean {
  return !/^[a-z][a-z0-9+.-]*:\/\//i.test(source) && deviceOf(source) === undefined;
}

/** Many cameras take user and password as a part of the query. */
const QUERY = /([?&](?:user|usr|login|pass|pwd|psw|token|auth|key|secret)\w*=)[^&#\s"']*/gi;

/** An address without its user and password, for messages, logs and the API. */
export function withoutPassword(source: string): string {
  return source.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/?#]*@/i, '$1').replace(QUERY, '$1...');
}

/** A message that must not tell a password either: programs write the address that they were given. */
export function cleaned(message: string, source: string): string {
  return message.replaceAll(source, withoutPassword(source)).replace(/:\/\/[^\s/@]+@/g, '://').replace(QUERY, '$1...');
}
