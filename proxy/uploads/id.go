// Package uploads is what clients know of uploads in parts besides their parts: the ids, and
// lists of the uploads of a bucket.
package uploads

import (
	"encoding/base64"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// ID is the id that clients know an upload by: upstream's, and the id of
// the manifest that the finished object's record names. So a repeated Complete can
// tell whether the object that is there came from this upload. It says, too, how the
// upload is encrypted, as the answer to its creation did: policies judge parts by
// that, and upstream is asked for leave before anything is looked up.
type ID struct {
	Upstream string
	Manifest sse.ManifestID
	Sealed   storage.Encryption
}

// sealedUnder is how an upload with this record is encrypted; nil is plain storage.
func sealedUnder(rec *sse.Record) storage.Encryption {
	switch {
	case rec == nil:
		return storage.Encryption{}
	case rec.Mode == sse.ModeKMS:
		return storage.Encryption{Mode: rec.Mode, KMSKey: rec.KMSKey}
	default:
		return storage.Encryption{Mode: rec.Mode}
	}
}

// Of returns the id of an upload whose record is rec, nil for plain storage.
func Of(noted *manifest.Upload, rec *sse.Record) ID {
	return ID{noted.ID, noted.Manifest, sealedUnder(rec)}
}

// listed is Of for a note that is only listed, as clients have it.
func listed(noted *manifest.Upload) string {
	var rec *sse.Record
	if noted.Record != "" {
		rec, _ = sse.ParseRecord(noted.Record) // if it is none, nobody can use the upload
	}
	return Of(noted, rec).String()
}

// String is the id as clients have it.
func (u ID) String() string {
	own := append(u.Manifest[:len(u.Manifest):len(u.Manifest)], byte(u.Sealed.Mode))
	own = append(own, u.Sealed.KMSKey...)
	return u.Upstream + "." + base64.RawURLEncoding.EncodeToString(own)
}

// maxHintedKey bounds the name of a KMS key in an upload id, in bytes.
const maxHintedKey = 256

// ParseID reads an id of String's making. manifest.ErrNoSuchUpload.
func ParseID(text string) (u ID, err error) {
	i := strings.LastIndexByte(text, '.')
	if i <= 0 {
		return ID{}, manifest.ErrNoSuchUpload
	}
	own, err := base64.RawURLEncoding.Strict().DecodeString(text[i+1:])
	n := len(u.Manifest)
	if err != nil || len(own) <= n || !isUpstreamID(text[:i]) {
		return ID{}, manifest.ErrNoSuchUpload
	}
	u = ID{text[:i], sse.ManifestID(own[:n]), storage.Encryption{Mode: sse.Mode(own[n]), KMSKey: string(own[n+1:])}}
	if len(u.Sealed.KMSKey) > maxHintedKey || u.Sealed.Mode != sse.ModeKMS && u.Sealed.KMSKey != "" {
		return ID{}, manifest.ErrNoSuchUpload
	}
	return u, nil
}

// maxUpstreamID is how long an upload id of upstream's may be, in bytes
// (storage.Backend.CreateUpload).
const maxUpstreamID = 180

// isUpstreamID says whether text can be an upload id of upstream's: it becomes a
// part of names in the system bucket, in which a slash would mean another one.
func isUpstreamID(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_.~=+", c) >= 0:
		default:
			return false
		}
	}
	return text != "" && len(text) <= maxUpstreamID
}
