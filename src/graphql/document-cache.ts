import type { DocumentNode, Token } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { LRUCache } from 'lru-cache';
import type { Context } from './context.ts';

/** Bytes that all cached documents hold together. */
const maxBytes = 16 * 1_024 * 1_024;
/** Bytes that one document holds at most; some 2,000 tokens. A longer one is parsed and validated each time. */
const maxDocumentBytes = maxBytes / 16;
/** Bytes of a token with its share of the syntax tree: 479 was the most of ten kinds of documents, 326 is usual. */
const bytesPerToken = 512;

/**
 * Documents that have been parsed, validated and found within the limits, by their text, so that none of this happens
 * again. The least recently used one goes first. Only documents that a signed-in caller has carried out get in: those
 * that fail, and those of strangers, leave nothing behind.
 */
export class DocumentCache {
  readonly #documents = new LRUCache<string, DocumentNode>({
    maxSize: maxBytes,
    maxEntrySize: maxDocumentBytes,
    sizeCalculation: (document, text) => 2 * text.length + bytesPerToken * countTokens(document),
  });

  get(text: string): DocumentNode | undefined {
    return this.#documents.get(text);
  }

  add(document: DocumentNode): void {
    const text = document.loc?.source.body;
    if (text !== undefined && this.#documents.peek(text) !== document) this.#documents.set(text, document);
  }

  has(document: DocumentNode): boolean {
    return this.#documents.peek(document.loc?.source.body ?? '') === document;
  }
}

/** Has Yoga take documents from the cache. */
export function useCachedDocuments(documents: DocumentCache): Plugin<Context> {
  return {
    onParse({ params: { source }, setParsedDocument }) {
      const document = documents.get(typeof source === 'string' ? source : source.body);
      if (document) setParsedDocument(document);
    },
    onValidate({ params: { documentAST }, setResult }) {
      if (documents.has(documentAST)) setResult([]);
    },
  };
}

/** Puts into the cache what signed-in callers carry out. It has to come after admission, which stops the rest. */
export function useDocumentCaching(documents: DocumentCache): Plugin<Context> {
  const add = ({ args }: { args: { document: DocumentNode; contextValue: Pick<Context, 'caller'> } }) => {
    if (args.contextValue.caller) documents.add(args.document);
  };
  return { onExecute: add, onSubscribe: add };
}

/** Comments count too: the lexer keeps a token of each. */
function countTokens({ loc }: DocumentNode): number {
  let count = 0;
  for (let token: Token | null | undefined = loc?.startToken; token; token = token.next) count += 1;
  return count;
}
