import { useEffect, useState } from 'react';
import { type ApiError, parseError } from './api-error.ts';
import { projectsQuery } from './operations.ts';
import { useSession } from './session/session.ts';

interface Project {
  id: string;
  name: string;
}

/** Loads all projects of the caller, and says whether it can access connections without a project. */
export function useProjects() {
  const { client, viewer } = useSession();
  const [projects, setProjects] = useState<readonly Project[]>();
  const [apiError, setApiError] = useState<ApiError>();
  const [attempt, setAttempt] = useState(0);

  useEffect(() => {
    let isCurrent = attempt >= 0;
    const load = async () => {
      const loaded: Project[] = [];
      for (let after: string | null = null; ; ) {
        const { data, error }: Awaited<ReturnType<typeof readPage>> = await readPage(after);
        if (!isCurrent) return;
        if (error) return setApiError(parseError(error));
        if (!data) return;
        loaded.push(...data.projects.nodes);
        after = data.projects.pageInfo.endCursor;
        if (!data.projects.pageInfo.hasNextPage) break;
      }
      setProjects(loaded);
    };
    const readPage = (after: string | null) => client.query(projectsQuery, { after }).toPromise();
    setApiError(undefined);
    load();
    return () => {
      isCurrent = false;
    };
  }, [client, attempt]);

  return {
    projects,
    canAccessUnscoped: viewer.projects === null,
    apiError,
    reload: () => setAttempt((last) => last + 1),
  };
}
