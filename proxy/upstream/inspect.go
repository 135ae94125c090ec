package upstream

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
)

// maxSettings bounds a document of a bucket's settings that is read, in bytes.
const maxSettings = 64 << 10

// noVersioning is refused by who would take a document that is right.
const noVersioning = `<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Neither</Status></VersioningConfiguration>`

// SystemRights says which of the rights that the service credential needs at the system
// bucket alone it lacks, by their names in policies. The bucket exists. Nothing is
// changed. The errors of MayWrite, but for system.ErrOwnRights.
func (s *Service) SystemRights(ctx context.Context) (missing []string, err error) {
	for _, right := range []struct {
		action string
		ask    func(context.Context) error
	}{
		{"s3:CreateBucket", func(ctx context.Context) error { return s.question(ctx, http.MethodPut, s.bucket, "", nil, nil) }},
		{"s3:PutBucketVersioning", func(ctx context.Context) error { // a status that there is not changes nothing
			return s.question(ctx, http.MethodPut, s.bucket, "", url.Values{"versioning": {""}}, []byte(noVersioning))
		}},
		{"s3:PutObject", s.MayWrite},
		{"s3:DeleteObject", s.mayDelete},
	} {
		if missing, err = lacking(missing, right.action, right.ask(ctx)); err != nil {
			return missing, err
		}
	}
	return missing, nil
}

// BucketRights says which of the rights that the service credential needs in each bucket
// it lacks in one, by their names in policies. The errors are those of SystemRights.
func (s *Service) BucketRights(ctx context.Context, bucket string) (missing []string, err error) {
	for _, right := range []struct {
		action, method, key string
		query               url.Values
	}{
		{"s3:ListBucket", http.MethodGet, "", url.Values{"list-type": {"2"}, "max-keys": {"1"}, "prefix": {probeName}}},
		{"s3:GetBucketPolicy", http.MethodGet, "", url.Values{"policy": {""}}},
		{"s3:GetObject", http.MethodGet, probeName, nil},
		{"s3:ListMultipartUploadParts", http.MethodGet, probeName, url.Values{"uploadId": {noUpload}}},
	} {
		if missing, err = lacking(missing, right.action, s.question(ctx, right.method, bucket, right.key, right.query, nil)); err != nil {
			return missing, err
		}
	}
	return missing, nil
}

// lacking adds a right that an answer denies.
func lacking(missing []string, action string, err error) ([]string, error) {
	if errors.Is(err, system.ErrOwnRights) {
		return append(missing, action), nil
	}
	return missing, err
}

// question sends a request that changes nothing. Whatever shows that it was permitted is
// no error: nil also for what does not exist. The errors of MayWrite.
func (s *Service) question(ctx context.Context, method, bucket, key string, query url.Values, body []byte) error {
	r := &Request{Method: method, Bucket: bucket, Key: key, Query: query, Header: make(http.Header), Credential: &s.cred}
	r.document(body)
	resp, err := s.client.Do(ctx, r)
	if err != nil {
		return err
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		Discard(resp)
		return nil
	}
	answer := ReadError(resp)
	if answer.Status < http.StatusInternalServerError && ownFault(answer.Code) == nil && answer.Status != http.StatusForbidden {
		return nil // as NoSuchKey, NoSuchUpload, MalformedXML, BucketAlreadyOwnedByYou
	}
	return asked(answer)
}

// mayDelete asks whether a system object could be removed, without one.
func (s *Service) mayDelete(ctx context.Context) error {
	none := make(chan minio.ObjectInfo, 1)
	none <- minio.ObjectInfo{Key: probeName, VersionID: "00000000-0000-4000-8000-000000000000"}
	close(none)
	var failed error
	for result := range s.core.RemoveObjects(ctx, s.bucket, none, minio.RemoveObjectsOptions{}) {
		if err := serviceError("delete", result.Err); errors.Is(err, system.ErrOwnRights) || errors.Is(err, system.ErrOwnCredential) || errors.Is(err, system.ErrNoBucket) {
			failed = err
		}
	}
	return failed
}

// SystemState is how the system bucket is set at MinIO.
type SystemState struct {
	// Unversioned says that versioning is not enabled; Lifecycle that it has lifecycle
	// rules; Public that it has a policy of its own; Locked that what is written there
	// is retained.
	Unversioned, Lifecycle, Public, Locked bool
	// Unknown are the rights that it takes to tell, and that the credential lacks.
	Unknown []string
}

// SystemState looks how the system bucket is set. The errors of MayWrite, but for
// system.ErrOwnRights.
func (s *Service) SystemState(ctx context.Context) (*SystemState, error) {
	state := &SystemState{}
	for _, look := range []struct {
		setting, right string
		found          func(document []byte, exists bool)
	}{
		{"versioning", "s3:GetBucketVersioning", func(document []byte, _ bool) {
			var v struct{ Status string }
			_ = xml.Unmarshal(document, &v)
			state.Unversioned = v.Status != "Enabled"
		}},
		{"lifecycle", "s3:GetLifecycleConfiguration", func(_ []byte, exists bool) { state.Lifecycle = exists }},
		{"policy", "s3:GetBucketPolicy", func(_ []byte, exists bool) { state.Public = exists }},
		{"object-lock", "s3:GetBucketObjectLockConfiguration", func(document []byte, exists bool) {
			state.Locked = exists && strings.Contains(string(document), "<DefaultRetention>")
		}},
	} {
		document, exists, err := s.setting(ctx, look.setting)
		switch {
		case errors.Is(err, system.ErrOwnRights):
			state.Unknown = append(state.Unknown, look.right)
		case err != nil:
			return nil, err
		default:
			look.found(document, exists)
		}
	}
	return state, nil
}

// setting reads one of the system bucket's settings. exists is false if it has none.
func (s *Service) setting(ctx context.Context, name string) (document []byte, exists bool, err error) {
	r := s.request(http.MethodGet, "")
	r.set(name, "")
	resp, err := s.client.Do(ctx, r)
	if err != nil {
		return nil, false, err
	}
	if resp.StatusCode != http.StatusOK {
		answer := ReadError(resp)
		if answer.Status == http.StatusNotFound && ownFault(answer.Code) == nil {
			return nil, false, nil
		}
		return nil, false, fmt.Errorf("read %s of the system bucket: %w", name, asked(answer))
	}
	defer Discard(resp)
	document, err = io.ReadAll(io.LimitReader(resp.Body, maxSettings))
	return document, true, err
}

// WrongRegion says whether an error means that MinIO was started with another region
// than requests are signed for.
func WrongRegion(err error) bool {
	var answer *storage.Error
	return errors.As(err, &answer) && (answer.Code == "AuthorizationHeaderMalformed" || answer.Code == "InvalidRegion")
}
