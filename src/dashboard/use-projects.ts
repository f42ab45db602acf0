import { useEffect, useState } from 'react';
import { type Problem, problemOf } from './api-error.ts';
import { projectsQuery } from './operations.ts';
import { useSession } from './session/session.ts';

interface Project {
  id: string;
  name: string;
}

/** All projects that the caller may use, and whether it may use connections without a project too. */
export function useProjects() {
  const { client, viewer } = useSession();
  const [projects, setProjects] = useState<readonly Project[]>();
  const [problem, setProblem] = useState<Problem>();
  const [attempt, setAttempt] = useState(0);

  useEffect(() => {
    let isWanted = attempt >= 0;
    const read = async () => {
      const found: Project[] = [];
      for (let after: string | null = null; ; ) {
        const { data, error }: Awaited<ReturnType<typeof readPage>> = await readPage(after);
        if (!isWanted) return;
        if (error) return setProblem(problemOf(error));
        if (!data) return;
        found.push(...data.projects.nodes);
        after = data.projects.pageInfo.endCursor;
        if (!data.projects.pageInfo.hasNextPage) break;
      }
      setProjects(found);
    };
    const readPage = (after: string | null) => client.query(projectsQuery, { after }).toPromise();
    setProblem(undefined);
    read();
    return () => {
      isWanted = false;
    };
  }, [client, attempt]);

  return {
    projects,
    mayLeaveProjects: viewer.projects === null,
    problem,
    reload: () => setAttempt((last) => last + 1),
  };
}
