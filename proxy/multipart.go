package proxy

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// noSuchUpload is upstream's code for an upload that ended or never was.
const noSuchUpload = "NoSuchUpload"

// dropTimeout bounds the clean-up after an upload's end, which no client waits for.
const dropTimeout = 2 * time.Minute

// uploadID is the id that clients know an upload by: upstream's, and the id of
// the manifest that the finished object's record names. So a repeated Complete can
// tell whether the object that is there came from this upload. It says, too, how the
// upload is encrypted, as the answer to its creation did: policies judge parts by
// that, and upstream is asked for leave before anything is looked up.
type uploadID struct {
	upstream string
	manifest sse.ManifestID
	sealed   sealedUnder
}

// sealedUnder is how an upload is encrypted; the zero value is plain storage.
type sealedUnder struct {
	mode   sse.Mode
	kmsKey string // of SSE-KMS
}

func underRecord(rec *sse.Record) sealedUnder {
	switch {
	case rec == nil:
		return sealedUnder{}
	case rec.Mode == sse.ModeKMS:
		return sealedUnder{rec.Mode, rec.KMSKey}
	default:
		return sealedUnder{mode: rec.Mode}
	}
}

// newUploadID returns the id of an upload whose record is rec, nil for plain storage.
func newUploadID(noted *manifest.Upload, rec *sse.Record) uploadID {
	return uploadID{noted.ID, noted.Manifest, underRecord(rec)}
}

// notedUploadID is newUploadID for a note that is only listed.
func notedUploadID(noted *manifest.Upload) string {
	var rec *sse.Record
	if noted.Record != "" {
		rec, _ = sse.ParseRecord(noted.Record) // if it is none, nobody can use the upload
	}
	return newUploadID(noted, rec).String()
}

func (u uploadID) String() string {
	own := append(u.manifest[:len(u.manifest):len(u.manifest)], byte(u.sealed.mode))
	own = append(own, u.sealed.kmsKey...)
	return u.upstream + "." + base64.RawURLEncoding.EncodeToString(own)
}

// maxHintedKey bounds the name of a KMS key in an upload id, in bytes.
const maxHintedKey = 256

// parseUploadID reads an id of String's making. errNoSuchUpload.
func parseUploadID(text string) (u uploadID, err error) {
	i := strings.LastIndexByte(text, '.')
	if i <= 0 {
		return uploadID{}, errNoSuchUpload
	}
	own, err := base64.RawURLEncoding.Strict().DecodeString(text[i+1:])
	n := len(u.manifest)
	if err != nil || len(own) <= n || !isUpstreamID(text[:i]) {
		return uploadID{}, errNoSuchUpload
	}
	u = uploadID{text[:i], sse.ManifestID(own[:n]), sealedUnder{sse.Mode(own[n]), string(own[n+1:])}}
	if len(u.sealed.kmsKey) > maxHintedKey || u.sealed.mode != sse.ModeKMS && u.sealed.kmsKey != "" {
		return uploadID{}, errNoSuchUpload
	}
	return u, nil
}

// maxUpstreamID is how long an upload id of upstream's may be, in bytes, so that
// names in the system bucket can hold it. MinIO's have 124.
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

// openUpload is an upload that a request names, with what its parts need.
type openUpload struct {
	*manifest.Upload
	id     uploadID
	record *sse.Record // nil for plain storage
}

// upload returns the upload that the request names, once upstream says that the
// caller may do with it what he asks. errNoSuchUpload.
func (s *Server) upload(r *request) (*openUpload, error) {
	id, err := parseUploadID(r.query.Get("uploadId"))
	may := s.mayUpload
	if r.Method == http.MethodPut && err == nil {
		may = s.maySendPart
	}
	if denied := may(r.Context(), r, id.sealed); denied != nil {
		return nil, denied
	}
	if err != nil {
		return nil, err
	}
	noted, err := s.ledger.Get(r.Context(), r.name(), id.upstream)
	if err != nil {
		return nil, err
	}
	if noted.Name() != r.name() || noted.ID != id.upstream {
		return nil, errNoSuchUpload
	}
	u := &openUpload{Upload: noted, id: id}
	if noted.Record != "" {
		if u.record, err = sse.ParseRecord(noted.Record); err != nil {
			return nil, err
		}
	}
	if id != newUploadID(noted, u.record) {
		return nil, errNoSuchUpload
	}
	return u, nil
}

// initiated is upstream's answer to CreateMultipartUpload.
type initiated struct {
	UploadID string `xml:"UploadId"`
}

// createMultipartUpload serves CreateMultipartUpload. Keys are made now, and the
// record goes with upstream's upload; the upload is noted in the ledger before the
// client hears of it.
func (s *Server) createMultipartUpload(w http.ResponseWriter, r *request) error {
	asked, err := s.askedEncryption(r)
	if err != nil {
		return err
	}
	defer asked.CustomerKey.Zero()
	noted := &manifest.Upload{
		Bucket: r.bucket, Key: r.key, Manifest: sse.NewManifestID(), Initiated: time.Now().UTC(),
		Initiator: r.caller.accessKey, StorageClass: r.Header.Get("X-Amz-Storage-Class"),
	}
	if err := setUploadChecksum(noted, r.Header); err != nil {
		return err
	}
	if err := s.setup.ensure(r.Context()); err != nil {
		return err
	}
	up := r.upstreamRequest(http.MethodPost)
	up.Header, up.Query = r.writeHeaders(), url.Values{"uploads": {""}}
	u := &upload{server: s, request: r}
	if err := u.conditions(r.Context()); err != nil {
		return err
	}
	u.setPinned(up.Header)
	var record *sse.Record
	if asked.Mode != sse.ModeNone {
		if record, err = s.uploadRecord(r, asked, noted); err != nil {
			return s.refusal(r.Context(), r, err)
		}
		up.Query.Set(recordHeader, noted.Record)
	} else if noted.Checksum != 0 { // of the plaintext: upstream keeps it
		up.Header.Set("X-Amz-Checksum-Algorithm", checksumOf(noted.Checksum).wire.String())
		up.Header.Set("X-Amz-Checksum-Type", checksumKind(&sse.Checksum{Composite: noted.Composite}))
	}
	if noted.ID, err = s.initiate(r.Context(), up); err != nil {
		return err
	}
	if err := s.ledger.Create(r.Context(), noted); err != nil {
		return err
	}
	answerCreate(w, r, noted, record, asked.CustomerKeyMD5)
	return nil
}

// setPinned sets the conditions as upstream can judge them.
func (u *upload) setPinned(h http.Header) {
	if u.match != "" {
		h.Set("If-Match", u.match)
	}
	if !u.copied && u.request.Header.Get("If-None-Match") == "*" {
		h.Set("If-None-Match", "*")
	}
}

func answerCreate(w http.ResponseWriter, r *request, noted *manifest.Upload, record *sse.Record, customerKeyMD5 string) {
	h := w.Header()
	if record != nil {
		setEncryptionHeaders(h, record, customerKeyMD5)
	}
	if noted.Checksum != 0 {
		h.Set("X-Amz-Checksum-Algorithm", checksumOf(noted.Checksum).wire.String())
		h.Set("X-Amz-Checksum-Type", checksumKind(&sse.Checksum{Composite: noted.Composite}))
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + `<InitiateMultipartUploadResult xmlns="` + s3Namespace + `">`)
	element(&b, "Bucket", r.bucket)
	element(&b, "Key", r.key)
	element(&b, "UploadId", newUploadID(noted, record).String())
	b.WriteString("</InitiateMultipartUploadResult>")
	writeXML(w, http.StatusOK, b.Bytes())
}

// uploadRecord makes the record of an object that will come in parts.
func (s *Server) uploadRecord(r *request, asked *sse.Request, noted *manifest.Upload) (*sse.Record, error) {
	key, err := s.keys.Make(r.Context(), r.caller.keys(), r.name(), asked)
	if err != nil {
		return nil, err
	}
	defer key.Zero()
	objectKey := sse.NewObjectKey()
	defer objectKey.Zero()
	key.Record.Layout, key.Record.Manifest = sse.Uploaded, noted.Manifest
	noted.Record, err = key.Seal(&objectKey, sse.NewPartsPrivate())
	return &key.Record, err
}

func (s *Server) initiate(ctx context.Context, up *upstream.Request) (string, error) {
	resp, err := s.opts.Upstream.Do(ctx, up)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", upstream.ReadError(resp)
	}
	defer upstream.Discard(resp)
	var answer initiated
	if err := xml.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&answer); err != nil || !isUpstreamID(answer.UploadID) {
		return "", fmt.Errorf("parse upstream's upload id: %w (%v)", storage.ErrUnreachable, err)
	}
	return answer.UploadID, nil
}

// setUploadChecksum reads which checksum the parts and the object will have. CRCs
// of a whole object can be put together from the parts', other digests cannot.
func setUploadChecksum(noted *manifest.Upload, h http.Header) error {
	name, kind := h.Get("X-Amz-Checksum-Algorithm"), h.Get("X-Amz-Checksum-Type")
	if name == "" {
		if kind != "" {
			return sigv4.ErrInvalidChecksum
		}
		return nil
	}
	algorithm, ok := checksum.Parse(name)
	if !ok {
		return sigv4.ErrInvalidChecksum
	}
	noted.Checksum = sealedChecksum(algorithm)
	switch strings.ToUpper(kind) {
	case "":
		noted.Composite = noted.Checksum != sse.CRC64NVME
	case "FULL_OBJECT":
		if !combinable(noted.Checksum) {
			return sigv4.ErrInvalidChecksum
		}
	case "COMPOSITE":
		if noted.Checksum == sse.CRC64NVME {
			return sigv4.ErrInvalidChecksum
		}
		noted.Composite = true
	default:
		return sigv4.ErrInvalidChecksum
	}
	return nil
}

// abortMultipartUpload serves AbortMultipartUpload.
func (s *Server) abortMultipartUpload(w http.ResponseWriter, r *request) error {
	u, err := s.upload(r)
	if err != nil {
		return err
	}
	up := r.upstreamRequest(http.MethodDelete)
	tellUpload(up, u.id.sealed)
	up.Query = url.Values{"uploadId": {u.ID}}
	resp, err := s.opts.Upstream.Do(r.Context(), up)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusNoContent {
		return upstream.ReadError(resp) // NoSuchUpload too may pass: the sweep looks twice
	}
	upstream.Discard(resp)
	s.dropUpload(r.Context(), u)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// dropUpload forgets an upload that upstream has no more, after the answer. What
// a crash leaves of it the janitor removes.
func (s *Server) dropUpload(ctx context.Context, u *openUpload) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
	go func() {
		defer cancel()
		if err := s.ledger.Drop(ctx, u.Name(), u.ID); err != nil {
			s.log.Warn("ledger of a finished upload was not removed", "bucket", u.Bucket, "key", u.Key, "error", err)
		}
	}()
}
