package s3api

import (
	"net/http"
	"strconv"

	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/conditions"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/vault"
)

// putObject serves PutObject.
func (s *API) putObject(w http.ResponseWriter, r *intake.Request) error {
	put := s.putOf(r)
	defer put.Asked.CustomerKey.Zero()
	put.Size, put.Fault = declaredSize(r)
	stored, err := s.vault.Put(r.Context(), s.writer(r), put)
	if err != nil {
		return err
	}
	tellStored(w.Header(), stored, put.Asked.CustomerKeyMD5)
	w.WriteHeader(http.StatusOK)
	return nil
}

// putOf is the request as a write, but for its size. Its customer key is to be zeroed.
func (s *API) putOf(r *intake.Request) *vault.Put {
	return &vault.Put{
		Write: s.writeOf(r), Checksum: askedChecksum(r.Header), Declared: declaredDigests(r.Header),
		Body: func(d plaintext.Digests) (plaintext.Body, error) {
			body, err := r.Auth.Body(r.Request, sigv4.BodyOptions{ComputeMD5: d.MD5, Compute: d.Compute, Default: d.Default})
			if err != nil {
				return nil, err
			}
			return body, nil
		},
	}
}

// writeOf is which object the request writes, and how. Its customer key is to be zeroed.
func (s *API) writeOf(r *intake.Request) vault.Write {
	return vault.Write{Name: name(r), Asked: s.askedOf(r), Meta: writeMeta(r), Conditions: writeConditionsOf(r.Header)}
}

// writeConditionsOf are a write's If-Match and If-None-Match.
func writeConditionsOf(h http.Header) conditions.Write {
	return conditions.Write{IfMatch: list(h, "If-Match"), IfNoneMatch: list(h, "If-None-Match")}
}

// declaredSize returns the plaintext size that the request declares.
func declaredSize(r *intake.Request) (int64, error) {
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
		return 0, plaintext.ErrMissingLength
	case size > vault.MaxObjectSize:
		return 0, vault.ErrTooLarge
	}
	return size, nil
}

// askedChecksum is the checksum that the client wants computed, 0 for none; one that it
// sends itself is verified in any case.
func askedChecksum(h http.Header) checksum.Algorithm {
	for _, name := range []string{"X-Amz-Sdk-Checksum-Algorithm", "X-Amz-Checksum-Algorithm"} {
		if algorithm, ok := checksum.Parse(h.Get(name)); ok {
			return algorithm
		}
	}
	return 0
}

// declaredDigests are the digests of its body that the client declares in headers and
// MinIO knows; nil for none.
func declaredDigests(h http.Header) (declared storage.Metadata) {
	for name, values := range h {
		if name == "Content-Md5" || isChecksumHeader(name) && intake.KeptUpstream(name) {
			if declared == nil {
				declared = make(storage.Metadata)
			}
			declared[name] = values
		}
	}
	return declared
}

// tellStored tells the client what was stored.
func tellStored(h http.Header, stored *vault.Stored, customerKeyMD5 string) {
	for _, name := range []string{"X-Amz-Version-Id", "X-Amz-Expiration"} {
		if v := stored.Meta.Values(name); len(v) > 0 {
			h[name] = v
		}
	}
	h.Set("ETag", stored.ETag)
	if stored.Record != nil {
		setEncryptionHeaders(h, stored.Record.Encryption(), customerKeyMD5)
	}
	if stored.Facts.Checksum != nil {
		setChecksumHeaders(h, &stored.Facts)
	}
}
