import '@mantine/core/styles.css';
import { MantineProvider } from '@mantine/core';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Router } from 'wouter';
import { useHashLocation } from 'wouter/use-hash-location';
import { App } from './app.tsx';
import { consumeAuthCallback } from './session/pending-authorization.ts';
import { consumeSignInCode } from './session/sign-in-code.ts';
import { SignedIn } from './session/signed-in.tsx';
import { readSettings } from './settings.ts';
import { readableColors, theme } from './theme.ts';

const settings = readSettings();
// Before the router reads the URL.
const callback = consumeAuthCallback();
const signInCode = consumeSignInCode();
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
        <SignedIn settings={settings} callback={callback} signInCode={signInCode}>
          <Router hook={useHashLocation}>
            <App />
          </Router>
        </SignedIn>
      </MantineProvider>
    </StrictMode>,
  );
}
