"""Sign requests to Bedrock as boto3 does: with botocore's own signer."""

import json
import sys

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

signed = []
for case in json.load(sys.stdin):
    request = AWSRequest(case["method"], case["url"], data=case["body"].encode(), headers=case["headers"])
    SigV4Auth(Credentials(*case["keys"]), "bedrock", case["region"]).add_auth(request)
    signed.append({name: request.headers[name] for name in ("Authorization", "X-Amz-Date")})
print(json.dumps(signed))
