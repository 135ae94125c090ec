package s3api

import (
	"errors"
	"strconv"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/vault"
)

// uploadError returns what a client sees of an error of the engine's about an upload or
// a part that has values in its text.
func uploadError(err error) (*intake.Error, bool) {
	var checksum *vault.PartChecksumError
	var source *vault.SourceRangeError
	var request *vault.RequestError
	switch {
	case errors.As(err, &checksum):
		return argumentsError(checksum.Name, checksum), true
	case errors.As(err, &source):
		return intake.NewError(400, invalidArgument, "Range specified is not valid for source object of size: "+strconv.FormatInt(source.Size, 10)), true
	case errors.As(err, &request):
		return intake.NewError(400, invalidRequest, request.Reason), true
	}
	return nil, false
}
