import { Center, Container, Text } from '@mantine/core';
import { lazy, Suspense, useEffect } from 'react';
import { Redirect, Route, Switch, useLocation } from 'wouter';
import { ProblemAlert } from './error-alert.tsx';
import { ListScreen } from './list/list-screen.tsx';
import { Waiting } from './loading.tsx';
import { connectionsPath, type Place, placeOf } from './route.ts';
import { Shell } from './shell.tsx';
import { useProjects } from './use-projects.ts';

const AddScreen = lazy(() => import('./add/add-screen.tsx'));

const waiting = (
  <Center p="xl">
    <Waiting />
  </Center>
);

/** The screens, by their addresses. */
export function App() {
  const { projects, mayLeaveProjects, problem, reload } = useProjects();
  const [path] = useLocation();
  useEffect(() => {
    if (path) scrollTo(0, 0);
  }, [path]);
  if (problem) {
    return (
      <Container component="main" size="sm" py="xl">
        <ProblemAlert problem={problem} onRetry={reload} />
      </Container>
    );
  }
  if (!projects) return waiting;
  const first: Place | undefined = projects[0]?.id ?? (mayLeaveProjects ? null : undefined);
  const place = placeOf(path);
  const isKnown = place === null ? mayLeaveProjects : projects.some(({ id }) => id === place);
  if (first === undefined) return <Text p="xl">You do not have access to any project.</Text>;
  if (place === undefined || !isKnown) return <Redirect to={connectionsPath(first)} replace />;
  return (
    <Shell place={place} projects={projects} mayLeaveProjects={mayLeaveProjects}>
      <Suspense fallback={waiting}>
        <Switch>
          <Route path={`${connectionsPath(place)}/add/:app?`}>
            {({ app }) => <AddScreen place={place} app={app} />}
          </Route>
          <Route path={connectionsPath(place)}>
            <ListScreen key={place} place={place} />
          </Route>
          <Route>
            <Redirect to={connectionsPath(place)} replace />
          </Route>
        </Switch>
      </Suspense>
    </Shell>
  );
}
