package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
)

// chunkSeed is what the chunk signatures of a request chain to.
type chunkSeed struct {
	key       *signingKey
	stamp     string // date and scope, each with a line end
	signature string // of the request
}

func newChunkSeed(key *signingKey, c *claim) *chunkSeed {
	return &chunkSeed{
		key:       key,
		stamp:     c.date.Format(timeFormat) + "\n" + c.scope() + "\n",
		signature: c.signature,
	}
}

// chunkSigner verifies chunk after chunk.
type chunkSigner struct {
	stamp    string
	previous string // signature that the next one chains to
	mac      hash.Hash
	data     hash.Hash // SHA-256 of the current chunk
	buf      []byte
	sum      [sha256.Size]byte // of whatever is being summed
}

func newChunkSigner(seed *chunkSeed) *chunkSigner {
	return &chunkSigner{
		stamp: seed.stamp, previous: seed.signature,
		mac: hmac.New(sha256.New, seed.key.key[:]), data: sha256.New(),
	}
}

// write adds data of the current chunk.
func (s *chunkSigner) write(p []byte) { s.data.Write(p) }

// verify says whether signature is that of the current chunk, and begins the
// next one.
func (s *chunkSigner) verify(signature string) bool {
	s.begin(algorithm + "-PAYLOAD\n")
	s.buf = append(s.buf, emptySHA256+"\n"...)
	s.buf = hex.AppendEncode(s.buf, s.data.Sum(s.sum[:0]))
	s.data.Reset()
	return s.matches(signature)
}

// verifyTrailer says whether a trailer has the right signature.
func (s *chunkSigner) verifyTrailer(t trailer) bool {
	sum := sha256.Sum256([]byte(t.name + ":" + t.value + "\n"))
	s.begin(algorithm + "-TRAILER\n")
	s.buf = hex.AppendEncode(s.buf, sum[:])
	return s.matches(t.signature)
}

// begin writes the part of the string to sign that all have in common.
func (s *chunkSigner) begin(kind string) {
	s.buf = append(s.buf[:0], kind...)
	s.buf = append(s.buf, s.stamp...)
	s.buf = append(s.buf, s.previous...)
	s.buf = append(s.buf, '\n')
}

// matches compares the signature of the string to sign in buf.
func (s *chunkSigner) matches(signature string) bool {
	s.mac.Reset()
	s.mac.Write(s.buf)
	s.previous = signature
	return equalHex(s.mac.Sum(s.sum[:0]), signature)
}
