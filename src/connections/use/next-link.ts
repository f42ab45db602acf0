/** A target and its parameters, whose quoted values may have commas. */
const linkValue = /<([^<>]*)>((?:[^,"<]|"(?:[^"\\]|\\.)*")*)/g;
const parameter = /;\s*([^\s=;"]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*)))?/g;

/**
 * Finds the target of the first link with the relation `next` in a `Link` header (RFC 8288, section 3). Takes time
 * proportional to its length.
 *
 * @returns a reference, which can be relative to the URL of the request; undefined without such a link
 */
export function findNextLink(header: string): string | undefined {
  for (const [, target, parameters = ''] of header.matchAll(linkValue)) {
    const relations = [...parameters.matchAll(parameter)].find(([, name]) => name?.toLowerCase() === 'rel');
    const [, , quoted, token] = relations ?? [];
    if ((quoted ?? token ?? '').toLowerCase().split(/\s+/).includes('next')) return target;
  }
  return undefined;
}
