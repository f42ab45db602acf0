/** The encodings of a token that are searched for; base64 in its three alignments. */
function spellings(token: string): string[] {
  const bytes = Buffer.from(token);
  const aligned = [0, 1, 2].map((shift) =>
    Buffer.concat([Buffer.alloc(shift), bytes])
      .toString('base64')
      .slice(shift === 0 ? 0 : 4, -4),
  );
  const escaped = Array.from(bytes, (byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
  return [token, bytes.toString('hex'), escaped, encodeURIComponent(token), ...aligned].map((form) =>
    form.toLowerCase(),
  );
}

/** Returns the tokens that a text contains in any encoding. */
export function foundIn(text: string, planted: readonly string[]): string[] {
  const haystack = text.toLowerCase();
  return planted.filter((token) => spellings(token).some((form) => haystack.includes(form)));
}
