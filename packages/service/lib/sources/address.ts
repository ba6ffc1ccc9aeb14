/** An address without its password, for messages, logs and the API. */
export function withoutPassword(source: string): string {
  return source.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/?#]*@/i, '$1');
}

/** A message that must not tell a password either: programs write the address that they were given. */
export function cleaned(message: string, source: string): string {
  return message.replaceAll(source, withoutPassword(source)).replace(/:\/\/[^\s/@]+@/g, '://');
}
