// The names that drawing/device.js uses; everything that they do not reach stays out of the bundle.
export {ristretto255, ristretto255_hasher, ristretto255_oprf} from "@noble/curves/ed25519.js";
export {sha512} from "@noble/hashes/sha2.js";
