import '@mantine/core/styles.css';
import { MantineProvider } from '@mantine/core';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Router } from 'wouter';
import { useHashLocation } from 'wouter/use-hash-location';
import { App } from './app.tsx';
import { takeArrival } from './session/pending-authorization.ts';
import { takeSignInCode } from './session/sign-in-code.ts';
import { SignedIn } from './session/signed-in.tsx';
import { takeSettings } from './settings.ts';
import { readableColors, theme } from './theme.ts';

const settings = takeSettings();
// At once, and before the router reads the address.
const arrival = takeArrival();
const signInCode = takeSignInCode();
// Where get-nonce looks, which the lock of scrolling under dialogs goes by.
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
        <SignedIn settings={settings} arrival={arrival} signInCode={signInCode}>
          <Router hook={useHashLocation}>
            <App />
          </Router>
        </SignedIn>
      </MantineProvider>
    </StrictMode>,
  );
}
