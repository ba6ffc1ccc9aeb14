/**
 * Whether a colour profile is the usual sRGB one. Converting from it to sRGB changes nothing and takes
 * longer than decoding the photo. Profile layout: ICC.1:2022, 7.2 to 7.3 and 9.2.41.
 */
export function isSrgb(profile: Buffer | undefined): boolean {
  if (!profile || profile.length < 132) return false;
  for (let i = 0; i < profile.readUInt32BE(128) && 144 + 12 * i <= profile.length; i++) {
    const tag = 132 + 12 * i;
    if (profile.toString('latin1', tag, tag + 4) !== 'desc') continue;
    const start = profile.readUInt32BE(tag + 4);
    const text = profile.toString('latin1', start, start + profile.readUInt32BE(tag + 8));
    // Text is ASCII in version 2 profiles and UTF-16 in version 4 ones.
    return text.replaceAll('\0', '').includes('sRGB IEC61966-2.1');
  }
  return false;
}
