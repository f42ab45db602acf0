import { type Issue, validationError } from '../../common/errors.ts';

/** The most characters of a path. Matching takes time proportional to it. */
export const maxPathLength = 2_048;

/** RFC 3986's characters of a path, without `;` and `%`. */
const plain = /^[A-Za-z0-9\-._~!$&'()*+,=:@/]$/;

/** What most paths are. It decides nothing that the rest of the function would decide otherwise. */
const isNormal = /^(?:\/[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9_~!$&'()*+,=:@.-]*)+$/;

/**
 * Normalises the path of a request to an app, without the query. The result is both what a use policy matches and what is
 * sent, so that the app cannot read it differently.
 *
 * Percent-encoded characters that need no encoding are decoded, hex digits become upper-case, and a slash at the end is
 * removed: no server distinguishes these. Everything that servers read differently is refused: dot segments, empty
 * segments, encoded slashes, backslashes, semicolons, question marks, number signs and percent signs, control characters,
 * spaces at the ends of segments, what is not UTF-8, and characters that some servers convert to ASCII. The normalised form
 * of a path is its own.
 *
 * @throws AppError `BAD_USER_INPUT`, which names `path` and the remedy
 */
export function normalisePath(path: string): string {
  if (path.length > maxPathLength) throw invalid(`The path must have at most ${maxPathLength} characters.`);
  if (!path.startsWith('/')) throw invalid('The path must start with a slash, as in /api/v1/users.');
  if (isNormal.test(path)) return path;
  let normalised = '';
  for (let index = 0; index < path.length; ) {
    const character = path.charAt(index);
    if (plain.test(character)) {
      normalised += character;
      index += 1;
    } else if (character === '%') {
      const [encoded = ''] = /^(?:%[0-9a-f]{2})+/i.exec(path.slice(index)) ?? [];
      normalised += decodeAll(encoded);
      index += encoded.length;
    } else {
      throw invalid(describeCharacter(character));
    }
  }
  const segments = normalised.split('/').slice(1);
  if (segments.length > 1 && segments.at(-1) === '') segments.pop();
  if (segments.length > 1 && segments.includes('')) {
    throw invalid('The path has an empty segment (//).', 'Write one slash between segments.');
  }
  if (segments.some((segment) => segment === '.' || segment === '..')) {
    throw invalid('The path has a dot segment (. or ..).', 'Write the path that it leads to.');
  }
  if (segments.some((segment) => segment.startsWith('%20') || segment.endsWith('%20'))) {
    throw invalid('A segment of the path has a space at its start or its end.');
  }
  return `/${segments.join('/')}`;
}

/** Decodes a run of percent-encoded bytes as far as it needs no encoding. */
function decodeAll(encoded: string): string {
  let text: string;
  try {
    text = decodeURIComponent(encoded);
  } catch {
    throw invalid('The path has percent-encoded bytes that are not UTF-8.');
  }
  if (text === '') throw invalid('The path has a percent sign without two hex digits after it.');
  return [...text].map(normaliseDecoded).join('');
}

function normaliseDecoded(character: string): string {
  if (character !== '/' && plain.test(character)) return character;
  if (character === ' ' || (/^[\x21-\x7e]$/.test(character) && !'/\\;?#%'.includes(character))) {
    return `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
  }
  const isAscii = character <= '\x7f';
  // Full-width letters, for example, which Unicode normalisation turns into the ASCII ones.
  const becomesAscii = /\p{ASCII}/u.test(character.normalize('NFKC'));
  if (isAscii || becomesAscii || /\p{C}/u.test(character)) {
    throw invalid(
      'The path has an encoded character that servers read differently, such as a slash.',
      'Address the object by its id instead.',
    );
  }
  return encodeURIComponent(character);
}

function describeCharacter(character: string): string {
  if (character === ';') return 'The path has a matrix parameter (;).';
  if (character === '?' || character === '#') return `The path ends before ${character}.`;
  if (character === '\\') return 'The path has a backslash.';
  return 'The path has a character that must be percent-encoded.';
}

function invalid(message: string, remedy?: string) {
  const issue: Issue = { path: ['path'], message: remedy ? `${message} ${remedy}` : message };
  return validationError([issue]);
}
