"Packaging: everything that is a fact about the project is read from settings.ini"
import re
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

here = Path(__file__).parent
ini = ConfigParser()
ini.read(here/'settings.ini', encoding='utf-8')
cfg = ini['DEFAULT']

readme = (here/'README.md').read_text(encoding='utf-8')
raw = cfg['git_url'].replace('github.com', 'raw.githubusercontent.com') + '/' + cfg['branch'] + '/'
readme = re.sub(r'(!\[[^\]]*\]\()(?!https?:)', r'\g<1>' + raw, readme)      # the package index has no files beside it
readme = re.sub(r'((?<!!)\[[^\]]*\]\()(?!https?:|#)', r'\g<1>' + cfg['git_url'] + f"/blob/{cfg['branch']}/", readme)

setup(
    name=cfg['lib_name'], version=cfg['version'], description=cfg['description'],
    long_description=readme, long_description_content_type='text/markdown',
    author=cfg['author'], author_email=cfg['author_email'], license='MIT', license_files=['LICENSE'],
    url=cfg['git_url'], project_urls={'Documentation': cfg['doc_host'] + cfg['doc_baseurl']},
    keywords=cfg['keywords'].split(), python_requires='>=' + cfg['min_python'],
    classifiers=['Development Status :: 3 - Alpha', 'Intended Audience :: Education',
                 'Programming Language :: Python :: 3', 'Topic :: Scientific/Engineering :: Artificial Intelligence'],
    packages=find_packages(include=['nnzero', 'nnzero.*']),
    package_data={'nnzero': ['data/*']},
    install_requires=cfg['requirements'].split(),
    extras_require={'tensorboard': cfg['tensorboard_requirements'].split(), 'dev': cfg['dev_requirements'].split()},
    entry_points={'console_scripts': cfg['console_scripts'].split(), 'nbdev': ['nnzero=nnzero._modidx:d']},
    zip_safe=False,
)
