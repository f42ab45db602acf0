import { type MouseEvent, type RefObject, useEffect, useRef, useState } from 'react';

/** What happened to a button while the script of what it opens was loading. */
export interface EarlyInput {
  isClicked: boolean;
  isFocused: boolean;
}

/** The title of a button whose script could not be loaded. */
export const notLoaded = 'This could not be loaded. Reload the page.';

/**
 * Returns handlers for the button that is shown until the script is loaded, and what they have seen. They do not render: React would
 * replace the button between the two halves of a click, and the click would be lost.
 */
export function useEarlyInput() {
  const early = useRef<EarlyInput>({ isClicked: false, isFocused: false });
  const set = (more: Partial<EarlyInput>) => Object.assign(early.current, more);
  const handlers = {
    // The button can be replaced before the mouse is released.
    onMouseDown: ({ button }: MouseEvent) => void (button === 0 && set({ isClicked: true })),
    onClick: () => void set({ isClicked: true }),
    onFocus: () => void set({ isFocused: true }),
    onBlur: () => void set({ isFocused: false }),
  };
  return { early, handlers };
}

/** Returns whether something is open, and a ref of the button that opens it, to which early input is handed over. */
export function useOpenedByButton(early: RefObject<EarlyInput>) {
  const [opened, setOpened] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (early.current.isFocused) button.current?.focus();
    if (early.current.isClicked) setOpened(true);
  }, [early]);
  return { opened, setOpened, button };
}
