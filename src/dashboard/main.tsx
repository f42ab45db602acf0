import '@mantine/core/styles.css';
import { MantineProvider } from '@mantine/core';
import { lazy, StrictMode, Suspense } from 'react';
import { createRoot } from 'react-dom/client';
import { Router } from 'wouter';
import { App } from './app.tsx';
import { useHashPath } from './hash-location.ts';
import { consumeAuthCallback } from './session/pending-authorization.ts';
import { consumeSignInCode } from './session/sign-in-code.ts';
import { SignedIn } from './session/signed-in.tsx';
import { readSettings } from './settings.ts';
import { consumeSetupSecret, isSetupPage } from './setup/setup-api.ts';
import { readableColors, theme } from './theme.ts';

const SetupScreen = lazy(() => import('./setup/setup-screen.tsx'));

const settings = readSettings();
// Before the router reads the URL.
const isSetup = isSetupPage();
const setupSecret = isSetup ? consumeSetupSecret() : undefined;
const callback = isSetup ? undefined : consumeAuthCallback();
const signInCode = isSetup ? undefined : consumeSignInCode();
// The package get-nonce reads it here; the scroll lock of dialogs uses that package.
Object.assign(globalThis, { __webpack_nonce__: settings.nonce });

const root = document.getElementById('root');
if (root) {
  createRoot(root).render(
    <StrictMode>
      <MantineProvider
        theme={theme}
        defaultColorScheme="auto"
        cssVariablesResolver={readableColors}
        getStyleNonce={() => settings.nonce}
      >
        {isSetup ? (
          <Suspense>
            <SetupScreen secret={setupSecret} />
          </Suspense>
        ) : (
          <SignedIn settings={settings} callback={callback} signInCode={signInCode}>
            <Router hook={useHashPath}>
              <App />
            </Router>
          </SignedIn>
        )}
      </MantineProvider>
    </StrictMode>,
  );
}
