import { useSyncExternalStore } from 'react';
import { useHashLocation } from 'wouter/use-hash-location';

/** The location hook of the router: the path in the fragment, without the query that `useHashQuery` reads. */
export function useHashPath(): ReturnType<typeof useHashLocation> {
  const [location, navigate] = useHashLocation();
  return [location.replace(/\?.*$/, ''), navigate];
}
useHashPath.hrefs = (href: string) => `#${href}`;

/**
 * Reads the query in the fragment, after `?`, and returns a function that replaces it. It is not the query of the URL, which a browser
 * sends to the server.
 */
export function useHashQuery(): [query: string, setQuery: typeof setHashQuery] {
  return [useSyncExternalStore(subscribe, readHashQuery), setHashQuery];
}

function subscribe(onChange: () => void): () => void {
  addEventListener('hashchange', onChange);
  return () => removeEventListener('hashchange', onChange);
}

function readHashQuery(): string {
  return /\?(.*)$/.exec(location.hash)?.[1] ?? '';
}

/** @param isStep whether "back" returns to the query before */
function setHashQuery(query: string, isStep: boolean): void {
  const url = location.hash.replace(/\?.*$/, '') + (query && `?${query}`);
  history[isStep ? 'pushState' : 'replaceState'](null, '', url);
  dispatchEvent(new HashChangeEvent('hashchange'));
}
