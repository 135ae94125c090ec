package proxy

import (
	"net/http"
	"strconv"

	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/sse"
)

// maxObjectSize is S3's limit for one PUT at MinIO, in bytes.
const maxObjectSize = 5 << 40

// putObject serves PutObject.
func (s *Server) putObject(w http.ResponseWriter, r *request) error {
	asked, err := s.askedEncryption(r)
	if err != nil {
		return err
	}
	defer asked.CustomerKey.Zero()
	if err := s.mayKnock(r, asked); err != nil {
		return err
	}
	size, err := declaredSize(r)
	if err != nil {
		return err
	}
	up := &upload{server: s, request: r, size: size, asked: asked}
	if err := up.conditions(r.Context()); err != nil {
		return err
	}
	return up.run(w)
}

// mayKnock keeps anonymous callers of other buckets than those of allow_anonymous
// out before their bodies and anything else are looked at. Of others it depends on
// the bucket's rule which keys they need: that shows when upstream would be asked.
func (s *Server) mayKnock(r *request, asked *sse.Request) error {
	if r.caller.identity != nil {
		return nil
	}
	return s.keys.MayWrite(r.Context(), r.caller.keys(), r.bucket, asked)
}

// declaredSize returns the plaintext size that the request declares.
func declaredSize(r *request) (int64, error) {
	size := r.ContentLength
	if v := r.Header.Get("X-Amz-Decoded-Content-Length"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			return 0, sigv4.ErrIncompleteBody
		}
		size = n
	}
	switch {
	case size < 0:
		return 0, errMissingLength
	case size > maxObjectSize:
		return 0, errTooLarge
	}
	return size, nil
}

// upload is one PutObject on its way.
type upload struct {
	server  *Server
	request *request
	size    int64
	asked   *sse.Request
	body    plaintext
	// header is what goes upstream with the object.
	header http.Header
	// match is the upstream ETag that the current object must have, "" for any.
	match string

	facts  sse.Facts // what is known of the plaintext
	late   bool      // facts become known with the last byte, and go into a manifest
	stream sse.Stream
	record *sse.Record       // nil for plain storage
	key    *keyring.WriteKey // that the record is sealed with; nil for plain storage
	text   string            // the record's
	// etag is upstream's, once it has answered.
	etag string
	// allowed is asked once the size is known, before anything is stored; nil
	// allows every size.
	allowed func(size int64) error
	// copied says that the body is another object's: the request's conditions and
	// digests are not of this body.
	copied bool
}

// run reads the client's body, stores the object and answers.
func (u *upload) run(w http.ResponseWriter) error {
	if err := u.receive(); err != nil {
		return err
	}
	u.answerHeaders(w.Header())
	w.WriteHeader(http.StatusOK)
	return nil
}

// receive reads the client's body and stores the object. A body of unknown size
// is read whole first.
func (u *upload) receive() error {
	r := u.request
	body, err := r.auth.Body(r.Request, sigv4.BodyOptions{
		ComputeMD5: u.asked.Mode == sse.ModeS3, Compute: askedChecksum(r.Header), Default: u.defaultChecksum(),
	})
	if err != nil {
		return err
	}
	if body.Size() != u.size {
		return sigv4.ErrIncompleteBody
	}
	u.body, u.header = body, r.writeHeaders()
	if u.size < 0 {
		var done func()
		if u.body, u.size, done, err = u.server.readUnsized(r, body); err != nil {
			return err
		}
		defer done()
	}
	if u.allowed != nil {
		if err := u.allowed(u.size); err != nil {
			return err
		}
	}
	_, trailer := body.TrailerChecksum()
	return u.store(trailer || len(askedChecksum(r.Header)) > 0)
}

// defaultChecksum is the checksum to compute if the client wants none, 0 where it could
// not be kept: what is stored without encryption is MinIO's to know, and a record that
// goes before the data has no place for it. A manifest of its own it is not worth.
func (u *upload) defaultChecksum() checksum.Algorithm {
	small := u.size <= u.server.opts.SmallObject
	manifest := u.asked.Mode == sse.ModeS3 && u.request.Header.Get("Content-Md5") == ""
	if u.asked.Mode == sse.ModeNone || !small && !manifest {
		return 0
	}
	return defaultChecksum
}

// askedChecksum is the checksum that the client wants computed; one that it
// sends itself is verified in any case.
func askedChecksum(h http.Header) []checksum.Algorithm {
	for _, name := range []string{"X-Amz-Sdk-Checksum-Algorithm", "X-Amz-Checksum-Algorithm"} {
		if algorithm, ok := checksum.Parse(h.Get(name)); ok {
			return []checksum.Algorithm{algorithm}
		}
	}
	return nil
}

// store writes the object upstream. lateChecksum says that a checksum that the client
// wants becomes known with the last byte.
func (u *upload) store(lateChecksum bool) error {
	s := u.server
	if u.size == 0 { // nobody else reads it to its end, where it is verified
		if err := drain(u.body); err != nil {
			return err
		}
	}
	switch {
	case u.asked.Mode == sse.ModeNone:
		return u.sendPlain()
	case u.size > 0 && u.size <= s.opts.SmallObject:
		if buffer := s.buffers.take(u.request.claim(), u.size); buffer != nil {
			return u.sendSmall(buffer)
		}
	}
	u.facts = u.known()
	u.late = u.size > 0 && (u.asked.Mode == sse.ModeS3 && u.facts.MD5 == nil || lateChecksum && u.facts.Checksum == nil)
	if err := u.prepare(); err != nil {
		return err
	}
	return u.sendStream()
}

// prepare gets the keys and writes the record: what is known of the object is
// what goes with it.
func (u *upload) prepare() error {
	r, s := u.request, u.server
	key, err := s.keys.Make(r.Context(), r.caller.keys(), r.name(), u.asked)
	if err != nil {
		return s.refusal(r.Context(), r, err)
	}
	defer key.Zero()
	objectKey := sse.NewObjectKey()
	defer objectKey.Zero()
	nonce := sse.NewStreamNonce()
	private := sse.NewPrivate(u.size, nonce)
	u.record, u.key = &key.Record, key
	u.record.PlainSize = u.size
	if u.late {
		u.record.Manifest = sse.NewManifestID()
	} else {
		private.Facts = u.facts
	}
	if u.text, err = key.Seal(&objectKey, private); err != nil {
		return err
	}
	u.stream = sse.Stream{Key: objectKey.Part(1), Nonce: nonce, PlainSize: u.size}
	return nil
}

// known returns the facts that are known now.
func (u *upload) known() sse.Facts { return knownFacts(u.body, u.asked.Mode == sse.ModeS3) }

// knownFacts returns what is known of a body now: computed, if it was read, or
// declared, and then verified before its last byte goes upstream. withMD5 is for
// SSE-S3: other ETags are upstream's.
func knownFacts(body plaintext, withMD5 bool) sse.Facts {
	var f sse.Facts
	sum, ok := body.MD5()
	if !ok {
		sum, ok = body.DeclaredMD5()
	}
	if ok && withMD5 {
		f.MD5 = sum[:]
	}
	trailer, _ := body.TrailerChecksum()
	for algorithm, value := range body.Checksums() {
		if f.Checksum == nil || algorithm == trailer {
			f.Checksum = &sse.Checksum{Type: sealedChecksum(algorithm), Value: value}
		}
	}
	if algorithm, value, ok := body.DeclaredChecksum(); ok {
		f.Checksum = &sse.Checksum{Type: sealedChecksum(algorithm), Value: value}
	}
	return f
}

// answerHeaders tell the client what was stored.
func (u *upload) answerHeaders(h http.Header) {
	for _, name := range []string{"X-Amz-Version-Id", "X-Amz-Expiration"} {
		if v := u.header.Values(name); len(v) > 0 {
			h[name] = v
		}
	}
	h.Set("ETag", clientETag(u.record, &u.facts, u.etag))
	if u.record != nil {
		setEncryptionHeaders(h, u.record, u.asked.CustomerKeyMD5)
	}
	facts := u.facts // as stored
	if u.record == nil {
		facts = u.known()
	}
	if facts.Checksum != nil {
		setChecksumHeaders(h, &facts)
	}
}
