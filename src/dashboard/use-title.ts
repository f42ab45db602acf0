import { useEffect } from 'react';

/** Names the page in the browser's tabs and history. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} · App Connections`;
  }, [title]);
}
