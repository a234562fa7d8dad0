// Names and one-sentence explanations, in the words of docs/job.md and docs/errors.md.

export const PHASES = {
  fetch: ['Fetch', 'The photo is read and turned upright.'],
  vehicle: ['Vehicle', 'The vehicle is found and outlined; its square is what is worked in from here on.'],
  sanitize: ['Sanitize', 'Plates and lettering on the vehicle are painted over.'],
  illustrate: ['Illustrate', 'The photo is redrawn in few flat areas and graded to the palette.'],
  enforce: ['Enforce', 'Every pixel takes its nearest palette colour; regions too small to draw are merged.'],
  vectorize: ['Vectorize', 'Boundaries become curves, each drawn once; the SVG is audited.'],
  deliver: ['Deliver', 'The files are written.'],
};

export const PICTURES = {
  photo: ['Photo', 'The photo, upright.'],
  clean_plate: ['Clean plate', 'The photo after removal.'],
  matte: ['Matte', 'Where the vehicle is: white is kept.'],
  depth: ['Depth', 'How near each point is: near is bright.'],
  edges: ['Edges', 'How strong a line each point is.'],
  illustration: ['Illustration', 'The flat drawing before it is enlarged.'],
  labels: ['Labels', 'The picture that was traced: one palette colour a region.'],
};

/** `data-part` of a fill → its name; '' is a fill that belongs to no part. In the order in which they are listed. */
export const PARTS = { body: 'Body', glass: 'Glass', wheel: 'Wheels', lamp: 'Lamps', plate: 'Plates', '': 'Background' };

/** Key of `quality` → name, explanation, how the value is shown, whether the value is a fault. */
export const QUALITY = {
  colors_used: ['Colours used', 'Colours of the palette that the drawing has.', 'number'],
  off_palette_colors: ['Off-palette colours', 'Colours that are not in the palette: none in a sound drawing.', 'number', value => value > 0],
  regions: ['Regions', 'Areas of one colour, after those too small to draw were merged.', 'number'],
  curves: ['Curves', 'Curves and straight pieces of all paths; fewer are easier to edit.', 'number'],
  svg_bytes: ['SVG', 'Size of the file.', 'bytes'],
  matte_confidence: ['Matte confidence', 'How well the outline is expected to fit the vehicle (IoU), from 0 to 1; a vehicle box helps.', 'number'],
  iou: ['IoU with the photo', 'How well a redrawn vehicle covers the photographed one, from 0 to 1.', 'number'],
  attempts: ['Attempts', 'Drawings that were made until one was kept.', 'number'],
  removed_fraction: ['Vehicle removed', 'Share of the vehicle that was painted over.', 'percent'],
  detail_changed_fraction: ['Detail changed', 'Share of the vehicle that merging small regions has recoloured.', 'percent'],
};

/** Warning → what to do about it. */
export const WARNINGS = {
  MATTE_UNCERTAIN: 'Look at the outline; draw a box round the vehicle, or send a matte.',
  LOCK_MISSED: 'Set a point where you see the area, or leave the lock out.',
  MATTE_ODD: 'Look at the outline; a matte is grey, white where the vehicle is, and as the photo stands upright.',
  ALPHA_IGNORED: 'Send a cut-out or a matte if the vehicle’s outline was meant.',
  SHADOW_LEFT_OUT: 'Look at the wheels; send a matte if something is missing.',
  VEHICLE_SMALL: 'Send a larger or closer photo to have more drawn.',
  MASK_EMPTY: 'Look at the drawing there: more than the thing itself may have been painted over.',
  NOT_FOUND_BY_ENGINE: 'Nothing to do, unless the photo shows one: look at the drawing.',
  TOO_LARGE_TO_REMOVE: 'Look at the drawing; crop the photo or paint the thing over if it must go.',
  STYLE_MISSING: 'Install a style on the model volume to have it used.',
  STYLE_IN_PART: 'Nothing to do, unless the style looks weaker than expected.',
  GUIDANCE_CAPPED: 'Send no guidance_scale with a draft, or another preset.',
  FAST_LORA_MISSING: 'Put the few-step LoRA on the model volume to make drafts quicker.',
  LOW_IOU: 'Compare the drawing with the photo; another seed or other weights may fit better.',
  NO_EDGES: 'A sharper photo gives the drawing more to hold on to.',
  PHOTO_CUT_SHORT: 'Send the whole file if something at the photo’s lower edge matters.',
  HDR_TONE_MAPPED: 'Nothing to do, unless bright parts look wrong: send an SDR version then.',
  COLOUR_SPACE_ASSUMED: 'Save the photo as sRGB, or with a colour profile, if its colours look wrong.',
  PROFILE_IGNORED: 'Save the photo with an intact colour profile if its colours look wrong.',
  PALETTE_REPEATED: 'Nothing to do: each colour counts once.',
};

/** Error → what to do about it. */
export const ERRORS = {
  INVALID_INPUT: 'Mend the setting that the sentence names.',
  INVALID_PALETTE: 'Use 2 to 64 different colours of 3 or 6 hex digits; a background colour must be one of them, a palette name one of those that the sentence lists.',
  INPUT_UNREACHABLE: 'Check the address; a signed one may have expired.',
  INPUT_FORBIDDEN: 'Use a public address, or send the file itself.',
  INPUT_TOO_LARGE: 'Send a smaller picture, or have MAX_INPUT_MB raised.',
  UNSUPPORTED_IMAGE: 'Send a JPEG, PNG, WebP, AVIF, HEIC, TIFF or BMP; if it is one, it is damaged or camera raw.',
  NO_VEHICLE: 'Draw a box round the vehicle and send it again.',
  LOW_IOU: 'Allow a low IoU, or try another seed or other weights.',
  MODELS_MISSING: 'Fill the model volume, or start the server with ENGINE=classical.',
  GPU_MISSING: 'The neural drawing needs a card; start the server on one, or with ENGINE=classical.',
  GPU_OUT_OF_MEMORY: 'The card’s memory did not suffice; a larger card is needed.',
  GPU_FAILED: 'Send it again; if it fails again, the pod’s card or driver is at fault.',
  DISK_FULL: 'Delete old jobs or give the pod a larger disk, then send it again.',
  DELIVERY_FAILED: 'The bucket or the disk refused the files; the sentence holds its own code.',
  OUTPUT_TOO_LARGE: 'Ask for fewer outputs.',
  TIMED_OUT: 'Send a smaller picture or a smaller size, or have JOB_TIMEOUT_SECONDS raised.',
  CANCELLED: 'Nothing: it was cancelled. It can be sent again.',
  INTERNAL: 'A fault of the worker; its log holds the details under the id in the sentence.',
  POISONED: 'The job ended its process twice. Try a smaller size or another photo, and look into the server’s log.',
  UNAUTHORIZED: 'Send the server’s API key, or sign in.',
  FORBIDDEN: 'Use the server’s own page, or send its API key.',
  CONFLICT: 'Look at the job again: its status has changed.',
  NOT_FOUND: 'It was deleted, or kept for as long as the server keeps jobs.',
  RATE_LIMITED: 'Wait a little, then try again.',
  QUEUE_FULL: 'Wait until some jobs are done, then try again.',
};
