package s3api

import (
	"net/http"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// putBucketPolicy serves PutBucketPolicy. One that demands something of encryption is
// answered when every proxy obeys it.
func (s *API) putBucketPolicy(w http.ResponseWriter, r *intake.Request) error {
	document, err := s.in.Document(r)
	if err != nil {
		return err
	}
	answer, err := s.in.Ask(r, upstream.S3, document)
	if err != nil {
		return err
	}
	s.encryption.PolicyChanged(r.Context(), r.Bucket, document)
	return s.in.PassBack(w, r, answer)
}

// deleteBucketPolicy serves DeleteBucketPolicy: other proxies may go on demanding
// for a lease.
func (s *API) deleteBucketPolicy(w http.ResponseWriter, r *intake.Request) error {
	err := s.in.Forward(w, r, upstream.S3)
	s.encryption.PolicyChanged(r.Context(), r.Bucket, nil)
	return err
}
