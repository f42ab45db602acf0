import { Center, Container, Text } from '@mantine/core';
import { lazy, Suspense, useEffect } from 'react';
import { Redirect, Route, Switch, useLocation } from 'wouter';
import { ErrorAlert } from './error-alert.tsx';
import { ListScreen } from './list/list-screen.tsx';
import { Loading } from './loading.tsx';
import {
  connectionsPath,
  type OptionalProjectId,
  parseProjectPath,
  toScreen,
  webhooksPath,
} from './route.ts';
import { Shell } from './shell.tsx';
import { useProjects } from './use-projects.ts';

const AddScreen = lazy(() => import('./add/add-screen.tsx'));
const ConnectionScreen = lazy(() => import('./connection/connection-screen.tsx'));
const EndpointScreen = lazy(() => import('./webhooks/endpoint-screen.tsx'));
const WebhooksScreen = lazy(() => import('./webhooks/webhooks-screen.tsx'));

const loading = (
  <Center p="xl">
    <Loading />
  </Center>
);

/** The routes. */
export function App() {
  const { projects, canAccessUnscoped, apiError, reload } = useProjects();
  const [path] = useLocation();
  const screen = toScreen(path);
  useEffect(() => {
    if (screen) scrollTo(0, 0);
  }, [screen]);
  if (apiError) {
    return (
      <Container component="main" size="sm" py="xl">
        <ErrorAlert apiError={apiError} onRetry={reload} />
      </Container>
    );
  }
  if (!projects) return loading;
  const defaultScope: OptionalProjectId | undefined =
    projects[0]?.id ?? (canAccessUnscoped ? null : undefined);
  const projectId = parseProjectPath(path);
  const isKnown = projectId === null ? canAccessUnscoped : projects.some(({ id }) => id === projectId);
  if (defaultScope === undefined) return <Text p="xl">You do not have access to any project.</Text>;
  if (projectId === undefined || !isKnown) return <Redirect to={connectionsPath(defaultScope)} replace />;
  return (
    <Shell projectId={projectId} projects={projects} canAccessUnscoped={canAccessUnscoped}>
      <Suspense fallback={loading}>
        <Switch>
          <Route path={`${connectionsPath(projectId)}/add/:app?`}>
            {({ app }) => <AddScreen projectId={projectId} app={app} />}
          </Route>
          <Route path={`${connectionsPath(projectId)}/:id/:tab?`}>
            {({ id, tab }) => <ConnectionScreen key={id} projectId={projectId} id={id} tab={tab} />}
          </Route>
          <Route path={connectionsPath(projectId)}>
            <ListScreen key={projectId} projectId={projectId} />
          </Route>
          <Route path={webhooksPath(projectId)}>
            <WebhooksScreen projectId={projectId} projects={projects} />
          </Route>
          <Route path={`${webhooksPath(projectId)}/:id`}>
            {({ id }) => <EndpointScreen key={id} projectId={projectId} projects={projects} id={id} />}
          </Route>
          <Route>
            <Redirect to={connectionsPath(projectId)} replace />
          </Route>
        </Switch>
      </Suspense>
    </Shell>
  );
}
